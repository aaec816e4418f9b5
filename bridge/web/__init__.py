"""Pages for people, on the node itself. `README.md` beside this file says how to add one; `shell` is where to begin."""
