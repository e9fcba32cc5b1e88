"""The review, pure: what a tree holds, what was done in it, and what that means."""
