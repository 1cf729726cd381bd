"""The subcommands of V2, for tests of all of them, or of all that only read."""

import argparse

from v2_event_driven_engine.main import parser

READERS = (("status",), ("verify",), ("replay",), ("audit",), ("audit", "--verify"))
"""What looks at a data directory, never makes one and never changes one."""
READING = tuple(dict.fromkeys(name for name, *_ in READERS))
"""Their names."""
WRITING = ("run", "stdio", "snapshot", "cluster")


def subcommands() -> list[str]:
    """Every subcommand that the help lists, from the parser."""
    (action,) = (
        action
        for action in parser("main.py")._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return [each.dest for each in action._choices_actions]
