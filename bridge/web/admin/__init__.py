"""Pages for administrators and auditors: a node run without a shell."""
