"""`cluster`: the engine on several machines, over a replicated log.

Only the subcommand and its help are here. What it has below it, and all that this imports, is
looked at when `cluster` is on the command line, so other subcommands start as fast as without it.
"""

import argparse

from .exits import OK
from .options import Subcommands
from .output import say

DESCRIPTION = """\
The engine on several machines. Its log is a stream of NATS JetStream, which a majority of the
servers keeps; each partition of the symbols has one active node, which writes, and standbys, which
follow and take over.
"""
EPILOG = """\
examples:
  %(prog)s up                        three servers, one partition with three nodes, here
  %(prog)s status                    in another terminal: who is active, and who follows
  %(prog)s kill active --kill        see a standby take over
  %(prog)s submit flow.ndjson.xz     as `run`; `stdio` is the dialogue
  %(prog)s verify                    the log against the published events and the nodes
  %(prog)s backup --to DIR           the log as a data directory; `restore` is the way back
  %(prog)s server-config --help      the same on machines of your own

exit status of `node`: 0 told to stop; 3 fenced, or no majority: start it again; 4 it derives other
               events than the log has, or the log is damaged: do not start it again
"""


def add(commands: Subcommands, *, whole: bool) -> None:
    """Register the subcommand, and if `whole` what it has below it."""
    text = "The engine on several machines: one active, hot standbys, a replicated log."
    parser = commands.add_parser(
        "cluster", help=text, description=DESCRIPTION, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(function=_explain, parser=parser)
    if not whole:
        return
    from . import cluster_client, cluster_nodes  # noqa: PLC0415

    below = parser.add_subparsers(metavar="COMMAND")
    cluster_nodes.add(below)
    cluster_client.add(below)


def _explain(options: argparse.Namespace) -> int:
    """`cluster` alone: its help."""
    parser: argparse.ArgumentParser = options.parser
    for line in parser.format_help().splitlines():
        say(line)
    return OK
