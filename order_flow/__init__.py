"""Market data in, order flow out.

An order flow is a file of the rulebook's commands, one JSON object a line, that either version of
the engine runs. This package makes such files from two sources and imports neither version:

* `order_flow.lobster`: NASDAQ's real order flow, from LOBSTER's files;
* `order_flow.synthetic`: a seeded stochastic model, any number of commands.

`order_flow.match_rate` measures how many of NASDAQ's executions the first reproduces.

    python -m order_flow --help
"""

from .commands import Command, line, write_lines
from .errors import MalformedRow, OrderFlowError, UnusableFile

__all__ = ["Command", "MalformedRow", "OrderFlowError", "UnusableFile", "line", "write_lines"]
