"""What the program's exit status means (rulebook section 8)."""

OK = 0
CHECK_FAILED = 1
"""Finished, but there were malformed lines, or a check failed."""
UNUSABLE_INPUT = 2
"""Usage, or a file that cannot be opened, read or written."""
UNUSABLE_DATA = 3
"""The data directory is damaged, in use or not usable."""
SIGNALED = 128
"""Plus the number of the signal that stopped the program."""
