"""Corrections, pure: which files a decision changes, and a corrected dataset of them."""
