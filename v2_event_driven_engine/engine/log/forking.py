"""A process that is forked while an engine is opened.

What is opened is first open, and then known as something that a forked process must give back.
Between the two nobody may fork: whoever opens holds `NO_FORK`, and so does `os.fork`.

`subprocess` forks without asking. Its children close everything that is not for them.
"""

import os
import threading

NO_FORK = threading.RLock()
"""Held for moments only. It may be taken again by a signal handler that forks."""

os.register_at_fork(
    before=NO_FORK.acquire, after_in_parent=NO_FORK.release, after_in_child=NO_FORK.release
)
