// The form of an alert: a list of areas while one is typed, and what is typed is kept on the node. Without this script the
// node asks which area was meant on a page of its own, and keeps what was typed when Continue is pressed.
import "./autocomplete.js"

const form = document.getElementById('bridge-alert')
const escaped = (text) => text.replace(/[&<>"']/g, (each) => `&#${each.charCodeAt(0)};`)

const ask = (address, body, more = {}) => fetch(address, {
  method: 'POST', headers: { 'X-Form-Token': form.dataset.token }, body, redirect: 'error', ...more,
})

const typed = form.querySelector('#area')
if (typed) {
  const code = form.querySelector('#area_code')
  const name = form.querySelector('#area_name')
  const place = document.createElement('div')
  const described = typed.getAttribute('aria-describedby')
  const classes = typed.className
  const before = typed.value
  let turn = 0
  typed.replaceWith(place)
  window.accessibleAutocomplete({
    element: place,
    id: 'area',
    name: 'area',
    defaultValue: before,
    inputClasses: classes,
    minLength: 2,
    confirmOnBlur: false,
    tNoResults: () => form.dataset.none,
    tAssistiveHint: () => form.dataset.hint,
    source: (text, show) => {
      const mine = ++turn
      window.setTimeout(async () => {
        if (mine !== turn) return
        const answer = await ask(form.dataset.areas, text.slice(0, 100)).catch(() => null)
        if (!answer?.ok || mine !== turn) return
        const rows = await answer.json()
        // An answer that comes when somebody has gone on opens nothing behind them.
        if (mine === turn && document.activeElement?.id === 'area') show(rows)
      }, 120)
    },
    templates: {
      inputValue: (each) => (typeof each === 'string' ? each : each?.name) ?? '',
      suggestion: (each) => {
        if (typeof each === 'string') return escaped(each)
        return escaped(each.name) + (each.within ? ` <span class="bridge-within">${escaped(each.within)}</span>` : '')
      },
    },
    onConfirm: (each) => {
      if (!each || !code) return
      code.value = each.code
      name.value = each.name
      form.dispatchEvent(new Event('input', { bubbles: true }))
    },
  })
  // The hint and the error of the box belong to the box that has taken its place.
  const box = form.querySelector('input#area')
  if (described) box.setAttribute('aria-describedby', `${described} ${box.getAttribute('aria-describedby') ?? ''}`.trim())
}

// Another day's boxes are cleared when another answer is chosen, so that no date stands where none is seen.
for (const radio of form.querySelectorAll('input[name="when"]')) {
  radio.addEventListener('change', () => {
    if (radio.checked && radio.value !== 'other') for (const part of form.querySelectorAll('[name^="on-"]')) part.value = ''
  })
}

if (form.dataset.draft) {
  let waiting = 0
  let sending = false
  const stop = new AbortController()
  const keep = async () => {
    waiting = 0
    if (sending) return
    const body = new URLSearchParams(new FormData(form))
    await ask(form.dataset.draft, body, { signal: stop.signal }).catch(() => null)
  }
  form.addEventListener('input', () => {
    window.clearTimeout(waiting)
    waiting = window.setTimeout(keep, 1500)
  })
  form.addEventListener('submit', () => { sending = true; window.clearTimeout(waiting); stop.abort() })
  // A phone that goes to sleep, or another page: what is typed now is kept first.
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'hidden' && waiting) { window.clearTimeout(waiting); keep() }
  })
}
