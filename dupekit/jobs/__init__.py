"""Job folders, the boundary between processes: what a worker is given, and what comes out."""
