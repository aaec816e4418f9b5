// A page that is told when something has changed asks for itself again and puts the new part in the place of the old one.
const live = document.getElementById('bridge-live')
const said = document.getElementById('bridge-said')
let spoken = 0

const refresh = async (words) => {
  const answer = await fetch(window.location.pathname, { headers: { Accept: 'text/html' }, redirect: 'error' }).catch(() => null)
  if (!answer?.ok) return
  const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html').getElementById('bridge-live')
  if (!fresh) return
  // What is being read stays where it is while somebody is in it: the list grows, and nothing takes the focus away.
  const inside = live.contains(document.activeElement) ? document.activeElement.id : ''
  live.replaceChildren(...fresh.childNodes)
  if (inside) document.getElementById(inside)?.focus()
  const now = Date.now()
  if (words && now - spoken > 10000) { spoken = now; said.textContent = words }
}

if (live?.dataset.live && 'EventSource' in window) {
  const stream = new EventSource(live.dataset.live)
  stream.addEventListener('changed', (event) => refresh(JSON.parse(event.data).said))
  stream.addEventListener('over', () => stream.close())
  window.addEventListener('pagehide', () => stream.close())
}
