// Behaviour that every page has. Nothing here is needed to use a page; without scripts all of it is forms and links.
import { initAll } from "./govuk-frontend.js"

// What a radio button reveals is ours to show: theirs says aria-expanded of a radio button, which may not have it.
for (const radio of document.querySelectorAll('input[type="radio"][data-aria-controls]')) {
  const part = document.getElementById(radio.dataset.ariaControls)
  radio.removeAttribute('data-aria-controls')
  const show = () => part.classList.toggle('govuk-radios__conditional--hidden', !radio.checked)
  for (const each of radio.form.elements[radio.name]) each.addEventListener('change', show)
  show()
}

initAll()

// A message that says what has just happened takes the focus, as the error summary does.
document.querySelector('[data-module="govuk-notification-banner"][role="alert"]')?.focus()

// Screen shield: the button, or Shift three times within two seconds, covers the page at once and locks the session.
const away = document.getElementById('bridge-away')
if (away) {
  let presses = []
  const leave = () => {
    const cover = document.createElement('div')
    cover.className = 'bridge-cover'
    document.title = away.dataset.title
    document.body.append(cover)
    away.submit()
  }
  away.addEventListener('submit', (event) => { event.preventDefault(); leave() })
  document.addEventListener('keyup', (event) => {
    if (event.key !== 'Shift') { presses = []; return }
    presses = [...presses.filter((at) => event.timeStamp - at < 2000), event.timeStamp]
    if (presses.length >= 3) { presses = []; leave() }
  })
}

// A page kept by the browser is not shown again when somebody goes back to it: the node decides what may be seen.
window.addEventListener('pageshow', (event) => { if (event.persisted) window.location.reload() })

// Time-out: a dialogue two minutes before the end. Other tabs of the same person tell each other that they are in use.
const clock = document.getElementById('bridge-timeout')
if (clock && typeof clock.showModal === 'function') {
  const tabs = 'BroadcastChannel' in window ? new BroadcastChannel('bridge-in-use') : null
  const idle = Number(clock.dataset.idle) * 1000
  const warn = Number(clock.dataset.warn) * 1000
  let end = 0
  const used = () => { end = Date.now() + idle; if (clock.open) clock.close() }
  const stay = async () => {
    const answer = await fetch('/session', {
      method: 'POST', headers: { 'X-Form-Token': clock.dataset.token }, redirect: 'error',
    }).catch(() => null)
    if (answer?.ok) { used(); tabs?.postMessage('used') } else window.location.reload()
  }
  used()
  tabs?.postMessage('used')
  tabs?.addEventListener('message', used)
  document.getElementById('bridge-stay').addEventListener('click', stay)
  clock.addEventListener('cancel', (event) => { event.preventDefault(); stay() })
  window.setInterval(() => {
    const left = end - Date.now()
    if (left <= 0) window.location.replace(clock.dataset.over)
    else if (left <= warn && !clock.open) clock.showModal()
  }, 1000)
}
