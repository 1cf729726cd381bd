"""Measurements. They print what was run, how often and on what, and the spread with the median."""
