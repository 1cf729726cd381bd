"""V1 and V2 under the protocol of the peers."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.peers.adapters import SYMBOL
from benchmarks.peers.protocol import Fill, Level, Limit, Peer, Side

from ..engines.adapters import FAST, Version


class Ours(Peer):
    """V1 or V2, through its own NDJSON reader."""

    def __init__(self, version: Version) -> None:
        self.version = version
        listing = {"command": "list_instrument", "symbol": SYMBOL}
        version.execute(listing | {"tick_size": "1", "lot_size": "1"})

    def limit(self, order: Limit) -> list[Fill]:
        return self.version.fills(
            b'{"command":"new","order_id":%d,"participant":1,"symbol":"%b","side":"%b",'
            b'"type":"LIMIT","price":%d,"quantity":%d}'
            % (order.order_id, SYMBOL.encode(), order.side.encode(), order.price, order.quantity)
        )

    def cancel(self, order_id: int) -> bool:
        cancel = {"command": "cancel", "order_id": order_id, "participant": 1}
        (event,) = self.version.execute(cancel)
        return bool(event["event"] == "order_canceled")

    def best(self, side: Side) -> Level | None:
        levels = self.version.book(SYMBOL, 1)["bids" if side == "BUY" else "asks"]
        return Level(*levels[0][:2]) if levels else None


OURS: dict[str, Callable[[], Peer]] = {
    "v1": lambda: Ours(FAST["v1"]()),
    "v2-matcher": lambda: Ours(FAST["v2-matcher"]()),
}
"""The rules of both versions. What V2 has around them is tested elsewhere, and would take hours."""
