// Runs before the page is drawn, so that parts which need scripts never flash in their other form.
document.documentElement.classList.add('bridge-scripts')
document.body.classList.add('js-enabled')
if ('noModule' in HTMLScriptElement.prototype) document.body.classList.add('govuk-frontend-supported')
