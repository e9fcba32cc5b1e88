"""The commands: one module each, of functions that take a session and record what they do."""
