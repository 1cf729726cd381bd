"""Exercise 2: a story that notices a bug.

In the bug, the youngest order of a price is filled first. The notation is that of chapter 2; write
every event that your commands cause.
"""

STORY = """
# Rulebook 4.1. Why the oldest comes first.
sell 1 5@100
"""
