"""One training: its schedule, its loss, its steps."""
