// Says that something new is there and shows the way to it. What is being read never moves.
const news = document.getElementById('bridge-news')
const said = document.getElementById('bridge-said')
let spoken = 0

if (news && 'EventSource' in window) {
  const stream = new EventSource(news.dataset.live)
  stream.addEventListener('changed', (event) => {
    const words = JSON.parse(event.data).said
    news.querySelector('a').textContent = words
    news.hidden = false
    const now = Date.now()
    if (now - spoken > 10000) { spoken = now; said.textContent = words }
  })
  // The number in the menu, which nothing that is read stands on. It is not read aloud: what is new is said above.
  stream.addEventListener('count', (event) => {
    const { count } = JSON.parse(event.data)
    const badge = document.querySelector('a[href="/inbox"] .bridge-count')
    if (badge) { badge.firstChild.textContent = count; badge.hidden = !count }
  })
  stream.addEventListener('over', () => stream.close())
  window.addEventListener('pagehide', () => stream.close())
}
