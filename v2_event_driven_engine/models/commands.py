"""Commands: what a participant wants, in the imperative. Immutable.

In the log a command is the MessagePack array of its tag and its fields in the order written here:
tags and the order of fields are part of the log format. In JSON it is an object with the same
names: see `cli/ndjson.py`. What a command must be before it gets a sequence is checked by
`engine/market/validation.py`.
"""

from typing import Final, get_args

import msgspec

from .enums import OrderType, SelfTradePrevention, Side, TimeInForce

NOT_GIVEN: Final = 2**63
"""No quantity: one more than the largest that is well formed."""


class CommandBase(
    msgspec.Struct,
    frozen=True,
    array_like=True,
    gc=False,
    forbid_unknown_fields=True,
    tag_field="command",
    tag=0,
):
    """What the commands share: they are frozen, and arrays in the log."""


class ListInstrument(CommandBase, frozen=True, tag=1):
    """Open a book for `symbol`. Sizes are decimal strings; the engine counts in integers."""

    symbol: str
    tick_size: str
    lot_size: str


class NewOrder(CommandBase, frozen=True, tag=2):
    """Enter an order. `price` in ticks (None for a MARKET), `quantity` in lots.

    `time_in_force` None means GTC for a LIMIT and IOC for a MARKET. `quantity` must be given: its
    default, which only makes room for that of `price`, is refused as malformed.
    """

    order_id: int
    participant: int
    symbol: str
    side: Side
    type: OrderType
    price: int | None = None
    quantity: int = NOT_GIVEN
    time_in_force: TimeInForce | None = None
    post_only: bool = False
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE


class CancelOrder(CommandBase, frozen=True, tag=3):
    """Take what is open of an order out of the book. Safe to send again."""

    order_id: int
    participant: int


class ReduceOrder(CommandBase, frozen=True, tag=4):
    """Make an order smaller by `by` lots; it keeps its place. Sent twice it acts twice."""

    order_id: int
    participant: int
    by: int


class ReplaceOrder(CommandBase, frozen=True, tag=5):
    """Give an order a new price (ticks) and open quantity (lots); None keeps what it has.

    It leaves its place and joins the tail.
    """

    order_id: int
    participant: int
    price: int | None = None
    quantity: int | None = None


class MassCancel(CommandBase, frozen=True, tag=6):
    """Cancel all orders of a participant in `symbol`, or in every symbol if that is None."""

    participant: int
    symbol: str | None


Command = ListInstrument | NewOrder | CancelOrder | ReduceOrder | ReplaceOrder | MassCancel
COMMAND_TYPES: Final = frozenset(get_args(Command))
