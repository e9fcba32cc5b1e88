"""Following a review tree while a technician works in it."""
