"""What a worker does: send an alert, follow it, take it back or correct it, or decide not to send and say why."""
