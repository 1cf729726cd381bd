"""Snapshots: the state at one sequence, so that recovery need not start from the first command.

A snapshot is made by replaying the log, beside a live engine if there is one; determinism makes
that exact, and the writer never pauses for it. It is written under a temporary name, synced,
renamed, and the directory synced, so it is there whole or not at all. Restoring it checks the
state hash.

::

    snapshot.00000000000000089563
       0  magic             8   b"OMESNAP\\n"
       8  format version    u16
      10  rulebook version  u16
      12  crc32c            u32  of the body
      16  body                   MessagePack of Snapshot
"""

import re
import struct

import msgspec
from crc32c import crc32c

from ..errors import StoreError, UnsupportedFormat
from ..models.enums import OrderStatus, SelfTradePrevention, Side
from ..models.order import Order
from .events import AnyEvent
from .matcher import Matcher
from .storage import Storage
from .wal_format import FORMAT_VERSION, RULEBOOK_VERSION
from .wal_reader import Position

MAGIC = b"OMESNAP\n"
HEADER = struct.Struct("<8sHHI")
NAME = re.compile(r"snapshot\.(\d{20})")
UNFINISHED = "snapshot.new"
KEPT = 2


class RestingOrder(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A live order as a snapshot keeps it."""

    symbol: str
    side: Side
    price: int
    order_id: int
    participant: int
    remaining: int
    status: OrderStatus
    self_trade_prevention: SelfTradePrevention
    post_only: bool


class Snapshot(msgspec.Struct, array_like=True, frozen=True):
    """The whole state between two batches of the log.

    ``orders`` are in canonical order, so that appending them one by one rebuilds every queue.
    ``unrecorded`` are the events whose turn to be written to the log had not come: recovery must
    find them in the first batch behind ``position``.
    """

    position: Position
    last_trade_id: int
    instruments: dict[str, tuple[str, str]]
    orders: list[RestingOrder]
    terminal: dict[int, OrderStatus]
    unrecorded: list[list[AnyEvent]]
    state_hash: str


_decoder = msgspec.msgpack.Decoder(Snapshot)


def name_of(sequence: int) -> str:
    """The file name of the snapshot at ``sequence``."""
    return f"snapshot.{sequence:020}"


def sequence_of(name: str) -> int:
    """The sequence in a snapshot's file name."""
    return int(name.rpartition(".")[2])


def newest_first(storage: Storage) -> list[str]:
    """The names of all snapshots in the directory."""
    return sorted(filter(NAME.fullmatch, storage.names()), reverse=True)


def write(storage: Storage, snapshot: Snapshot) -> str:
    """Make ``snapshot`` durable, drop all but the newest two, and return its name. O(orders)."""
    body = msgspec.msgpack.encode(snapshot)
    name = name_of(snapshot.position.next_sequence - 1)
    file = storage.create(UNFINISHED)
    try:
        file.write_at(0, HEADER.pack(MAGIC, FORMAT_VERSION, RULEBOOK_VERSION, crc32c(body)) + body)
        file.sync()
    finally:
        file.close()
    storage.rename(UNFINISHED, name)
    storage.sync_directory()
    for old in newest_first(storage)[KEPT:]:
        storage.remove(old)
    return name


def read(storage: Storage, name: str) -> Snapshot:
    """The snapshot in the file ``name``. O(orders).

    Raises:
        UnsupportedFormat: another version wrote it.
        StoreError: it is damaged.
    """
    data = storage.read(name)
    if len(data) < HEADER.size:
        raise StoreError(f"{name}: byte {len(data)}: the snapshot is cut short")
    magic, format_version, rulebook_version, crc = HEADER.unpack_from(data)
    body = data[HEADER.size :]
    if magic != MAGIC or crc != crc32c(body):
        raise StoreError(f"{name}: the snapshot is damaged")
    if (format_version, rulebook_version) != (FORMAT_VERSION, RULEBOOK_VERSION):
        raise UnsupportedFormat(f"{name}: written with format {format_version}")
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise UnsupportedFormat(f"{name}: an unknown record ({error})") from None


def restore(snapshot: Snapshot) -> Matcher:
    """A matcher in the state of ``snapshot``. O(orders · log levels).

    Raises:
        StoreError: the state hash is another one.
    """
    matcher = Matcher()
    matcher.sequence = snapshot.position.next_sequence - 1
    matcher.last_trade_id = snapshot.last_trade_id
    for symbol, (tick_size, lot_size) in snapshot.instruments.items():
        matcher.open_book(symbol, tick_size, lot_size)
    matcher.orders.update(snapshot.terminal)
    for kept in snapshot.orders:
        side = matcher.book(kept.symbol).side(kept.side)
        matcher.orders[kept.order_id] = order = Order(
            side.level(kept.price), kept.participant, kept.remaining, kept.status, None, None,
            kept.order_id, kept.self_trade_prevention, kept.post_only,
        )  # fmt: skip
        side.append(order)
    if matcher.state_hash() != snapshot.state_hash:
        raise StoreError(f"{name_of(matcher.sequence)}: the state hash differs")
    return matcher


def take(matcher: Matcher, position: Position, unrecorded: list[list[AnyEvent]]) -> Snapshot:
    """The state of ``matcher``, which has applied everything before ``position``. O(orders)."""
    orders = [
        RestingOrder(
            symbol, side, order.level.price, order.order_id, order.participant, order.remaining,
            order.status, order.self_trade_prevention, order.post_only,
        )
        for symbol, side, order in matcher.resting_orders()
    ]  # fmt: skip
    terminal = {
        order_id: order
        for order_id, order in matcher.orders.items()
        if isinstance(order, OrderStatus)
    }
    return Snapshot(
        position, matcher.last_trade_id, matcher.instruments, orders, terminal,
        unrecorded, matcher.state_hash(),
    )  # fmt: skip
