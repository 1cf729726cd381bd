"""One solution for each exercise; there are others."""
