"""The method, pure: halves, votes and scores, and which images are flagged."""
