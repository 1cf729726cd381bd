"""Exercise 2: a story that notices a bug."""

STORY = """
# Rulebook 4.1. Who came first is served first; otherwise nobody would dare to wait.
sell 1 5@100
sell 2 5@100
buy 3 5@100 => 3 buys 5@100 from 1
"""
