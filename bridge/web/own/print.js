// Opens the browser's own print window; without scripts the page says how.
window.print()
