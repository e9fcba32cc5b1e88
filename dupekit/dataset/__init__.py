"""The dataset: what lies there, and its images as arrays."""
