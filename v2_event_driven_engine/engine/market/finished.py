"""The orders that are gone: an id names one order for ever, so its final status stays."""

from collections.abc import Iterator, Mapping

from ...models.enums import OrderStatus

BLOCK = 4096
"""Ids in a block."""
DENSE = 32
"""With how many ids a block becomes dense, at 128 bytes for each of them or less."""
END_OF_BLOCKS = 2**48
"""Ids from here on are in no block: those that are drawn at random are spared the counting."""
YOUNG_BLOCKS = 1024
"""Of how many blocks the ids are counted at a time."""
STATUSES = bytes(
    (
        OrderStatus.UNKNOWN,
        OrderStatus.FILLED,
        OrderStatus.CANCELED,
        OrderStatus.EXPIRED,
        OrderStatus.REJECTED,
    )
)
"""What a byte of a dense block may be."""


class FinishedOrders:
    """The final status of every finished order, by id: one byte an id where ids are dense.

    ::

        start    statuses of the ids 0, 1, 2 … end-1: the first dense blocks, in one piece
        blocks   number of the block -> its statuses: dense blocks farther on
        sparse   id -> status: all others

    An id begins in `sparse`, which takes some 84 bytes for it. The `DENSE`-th id of a block turns
    the block into `BLOCK` bytes. So ids that count up take a byte each, wherever they begin. Ids
    without a pattern, or with one that is meant to do harm, take what `sparse` takes, or
    `BLOCK // DENSE` bytes of a block at most.

    Invariants
      1. A status is never UNKNOWN, whose number is 0: a byte of 0 is an id that has not finished.
      2. An id is in one place. That of a dense block may still be in `sparse`: it came when there
         were too many young blocks to count in.
      3. `end` is the length of `start`, a multiple of `BLOCK`; its block is not in `blocks`.
      4. No answer depends on which ids are where.
    """

    __slots__ = ("_young", "blocks", "end", "sparse", "start")

    def __init__(self) -> None:
        self.start = bytearray()
        self.end = 0
        self.blocks: dict[int, bytearray] = {}
        self.sparse: dict[int, OrderStatus] = {}
        self._young: dict[int, list[int]] = {}
        """By block: the ids that went to `sparse` since it was last forgotten."""

    def add(self, order_id: int, status: OrderStatus) -> None:
        """Note how an order ended. O(1), amortised."""
        if order_id < self.end:
            self.start[order_id] = status
            return
        if order_id >= END_OF_BLOCKS:
            self.sparse[order_id] = status
            return
        number = order_id // BLOCK
        block = self.blocks.get(number)
        if block is not None:
            block[order_id % BLOCK] = status
            return
        self.sparse[order_id] = status
        young = self._young
        ids = young.get(number)
        if ids is None:
            if len(young) == YOUNG_BLOCKS:
                young.clear()
            young[number] = [order_id]
            return
        ids.append(order_id)
        if len(ids) == DENSE:
            del young[number]
            block = bytearray(BLOCK)
            for each in ids:
                block[each % BLOCK] = self.sparse.pop(each)
            self._add_block(number, block)

    def _add_block(self, number: int, block: bytearray) -> None:
        self.blocks[number] = block
        while (following := self.blocks.pop(self.end // BLOCK, None)) is not None:
            self.start += following
            self.end += BLOCK

    def status(self, order_id: int) -> OrderStatus:
        """The final status; UNKNOWN for an id that has not finished. O(1)."""
        return OrderStatus(self.number(order_id))

    def number(self, order_id: int) -> int:
        """The number of the final status; 0 for an id that has not finished. O(1)."""
        if order_id < self.end:
            number = self.start[order_id]
        elif order_id < END_OF_BLOCKS and (block := self.blocks.get(order_id // BLOCK)) is not None:
            number = block[order_id % BLOCK]
        else:
            number = 0
        return number or self.sparse.get(order_id, 0)

    def dense_blocks(self) -> dict[int, bytes]:
        """The statuses of the dense blocks, by number of the block, zeros at the end left out.

        O(ids).
        """
        blocks = {
            number: self.start[number * BLOCK : (number + 1) * BLOCK]
            for number in range(self.end // BLOCK)
        }
        blocks |= self.blocks
        return {number: bytes(block.rstrip(b"\0")) for number, block in blocks.items()}

    def restore(self, dense_blocks: Mapping[int, bytes], sparse: Mapping[int, OrderStatus]) -> None:
        """Take over what `dense_blocks` and `sparse` of another one were. O(ids).

        Raises:
            ValueError: a block is none, or an order has not finished.
        """
        for number, block in dense_blocks.items():
            if number < 0 or len(block) > BLOCK or block.translate(None, STATUSES):
                raise ValueError(f"block {number} is no block of finished orders")
            self._add_block(number, bytearray(block.ljust(BLOCK, b"\0")))
        for order_id, status in sparse.items():
            if order_id < 1 or not status or status not in STATUSES:
                raise ValueError(f"order {order_id} is none that has finished")
            self.add(order_id, status)

    def same_as(self, other: "FinishedOrders") -> bool:
        """Whether both have the same orders with the same statuses. O(ids)."""
        return all(
            one.number(order_id) == another.number(order_id)
            for one, another in ((self, other), (other, self))
            for order_id in one
        )

    def bound(self) -> int:
        """No id above this one has finished. O(blocks and sparse ids)."""
        after_blocks = (max(self.blocks, default=-1) + 1) * BLOCK
        return max(self.end, after_blocks, max(self.sparse, default=0))

    def __iter__(self) -> Iterator[int]:
        """Every id that has finished, in no order. O(ids)."""
        for number, block in self.dense_blocks().items():
            yield from (number * BLOCK + offset for offset, status in enumerate(block) if status)
        yield from self.sparse
