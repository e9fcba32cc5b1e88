"""The demo: the whole loop on real handwritten digits, with planted errors."""
