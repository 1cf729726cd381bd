"""Snapshots: the state at one sequence, so that recovery need not start from the first command.

A snapshot is made by replaying the log, beside a live engine if there is one; determinism makes
that exact, and the writer never waits for it. It is written under a temporary name, synced,
renamed, and the directory synced, so it is there as a whole or not at all. Restoring it checks the
state hash.

::

    snapshot.00000000000000089563
       0  magic             8   b"OMESNAP\\n"
       8  snapshot version  u16
      10  rulebook version  u16
      12  crc32c            u32  of the body
      16  body                   MessagePack of Snapshot

Snapshots have versions of their own, because a log can stay as it is when they change. All are
still read. Version 2 keeps the place in the log as bytes that only the log understands; version 1
had the fields of a place in a log of files instead. Version 3 keeps a finished order in one byte
where ids are dense; before, each was an id and a status. Version 4 has room for bytes of whoever
takes the snapshot.
"""

import re
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import BinaryIO

import msgspec

from ...errors import StoreError, UnsupportedFormat
from ...models.enums import OrderStatus, SelfTradePrevention, Side
from ..event_log import Place
from ..events import AnyEvent
from ..market.matcher import Matcher
from ..order_book import Order, check
from .checksum import crc32c
from .format import RULEBOOK_VERSION, UNREADABLE, check_rulebook
from .reader import Position, position_of
from .storage import COPY_BYTES, Storage, new_file

SNAPSHOT_VERSION = 4
MAGIC = b"OMESNAP\n"
HEADER = struct.Struct("<8sHHI")
NAME = re.compile(r"snapshot\.(\d{20})")
UNFINISHED = "snapshot.new."
"""How the names begin of what is not finished. Each has a number of its own after it."""
KEPT = 2
RESTING = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED})
SNAPSHOT_BYTES_MAX = 4 * 1024**3
"""Nothing larger is written or read. It would be of some 400 million orders, resting or not."""


class RestingOrder(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A resting order as a snapshot keeps it."""

    symbol: str
    side: Side
    price: int
    order_id: int
    participant: int
    remaining: int
    status: OrderStatus
    self_trade_prevention: SelfTradePrevention
    post_only: bool


class Snapshot(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The whole state between two batches of the log.

    `place` is right after the batch whose last command has `sequence`; `closed` says whether that
    batch closed the log. `orders` are in canonical order, so that appending them one by one
    rebuilds every queue. `dense_blocks` and `terminal` are the finished orders: see
    `FinishedOrders`. `unrecorded` are the events that the log did not have yet: recovery must find
    them in the first batch after `place`. `attached` is of whoever took the snapshot: bytes that
    are kept with it and given back, as the tag of a batch is.
    """

    sequence: int
    timestamp_ns: int
    place: bytes
    closed: bool
    last_trade_id: int
    instruments: dict[str, tuple[str, str]]
    orders: list[RestingOrder]
    dense_blocks: dict[int, bytes]
    terminal: dict[int, OrderStatus]
    unrecorded: list[list[AnyEvent]]
    state_hash: str
    attached: bytes = b""


class SnapshotVersion3(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """As `Snapshot`, without what is attached."""

    sequence: int
    timestamp_ns: int
    place: bytes
    closed: bool
    last_trade_id: int
    instruments: dict[str, tuple[str, str]]
    orders: list[RestingOrder]
    dense_blocks: dict[int, bytes]
    terminal: dict[int, OrderStatus]
    unrecorded: list[list[AnyEvent]]
    state_hash: str

    def in_todays_form(self) -> Snapshot:
        return Snapshot(*msgspec.structs.astuple(self))


class SnapshotVersion2(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """As version 3, with all finished orders in `terminal`."""

    sequence: int
    timestamp_ns: int
    place: bytes
    closed: bool
    last_trade_id: int
    instruments: dict[str, tuple[str, str]]
    orders: list[RestingOrder]
    terminal: dict[int, OrderStatus]
    unrecorded: list[list[AnyEvent]]
    state_hash: str

    def in_todays_form(self) -> Snapshot:
        return Snapshot(
            self.sequence, self.timestamp_ns, self.place, self.closed, self.last_trade_id,
            self.instruments, self.orders, {}, self.terminal, self.unrecorded, self.state_hash,
        )  # fmt: skip


class SnapshotVersion1(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """As version 2, with the position in a log of files in place of the first four fields."""

    position: Position
    last_trade_id: int
    instruments: dict[str, tuple[str, str]]
    orders: list[RestingOrder]
    terminal: dict[int, OrderStatus]
    unrecorded: list[list[AnyEvent]]
    state_hash: str

    def in_todays_form(self) -> Snapshot:
        position = self.position
        return Snapshot(
            position.next_sequence - 1, position.timestamp_ns, position.place, position.closed,
            self.last_trade_id, self.instruments, self.orders, {}, self.terminal, self.unrecorded,
            self.state_hash,
        )  # fmt: skip


_decoder_1 = msgspec.msgpack.Decoder(SnapshotVersion1)
_decoder_2 = msgspec.msgpack.Decoder(SnapshotVersion2)
_decoder_3 = msgspec.msgpack.Decoder(SnapshotVersion3)
DECODERS: dict[int, Callable[[bytes], Snapshot]] = {
    1: lambda body: _decoder_1.decode(body).in_todays_form(),
    2: lambda body: _decoder_2.decode(body).in_todays_form(),
    3: lambda body: _decoder_3.decode(body).in_todays_form(),
    4: msgspec.msgpack.Decoder(Snapshot).decode,
}
"""By version: how the body of a snapshot is read."""


def name_of(sequence: int) -> str:
    """The file name of the snapshot at `sequence`."""
    return f"snapshot.{sequence:020}"


def sequence_of(name: str) -> int:
    """The sequence in a snapshot's file name."""
    return int(name.rpartition(".")[2])


class Snapshots:
    """The snapshots in a directory, the newest two of which are kept."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def names(self) -> list[str]:
        """Their names, the newest first."""
        return sorted(filter(NAME.fullmatch, self._storage.names()), reverse=True)

    def write(self, snapshot: Snapshot) -> str:
        """Make `snapshot` durable and return its name. O(orders).

        The newest two that can be read are kept, and what is older is removed, remains of snapshots
        that were never finished too.
        """
        storage = self._storage
        storage.remove_abandoned(UNFINISHED)
        body = msgspec.msgpack.encode(snapshot)
        header = HEADER.pack(MAGIC, SNAPSHOT_VERSION, RULEBOOK_VERSION, crc32c(body))
        name = name_of(snapshot.sequence)
        _check_size(name, len(header) + len(body))
        for last_try in (False, False, True):
            try:
                self._write(name, header + body)
                break
            except FileNotFoundError:  # made, but not locked yet: another one removed it
                if last_try:
                    raise
        kept = list(islice(self.readable(), KEPT))
        for old in self.names():
            if len(kept) == KEPT and old < kept[-1][0]:
                with suppress(FileNotFoundError):  # another one has removed it
                    storage.remove(old)
        return name

    def _write(self, name: str, content: bytes) -> None:
        storage = self._storage
        unfinished = f"{UNFINISHED}{storage.random64():016x}"
        with new_file(storage, unfinished) as file:
            file.write_at(0, content)
            file.sync()
            storage.rename(unfinished, name)
        file.close()
        storage.sync_directory()

    def readable(self) -> Iterator[tuple[str, Snapshot]]:
        """Those that can be read, and their names, the newest first."""
        for name in self.names():
            with suppress(StoreError, FileNotFoundError):
                yield name, self.read(name)

    def read(self, name: str) -> Snapshot:
        """The snapshot in the file `name`. O(orders).

        Raises:
            UnsupportedFormat: another version of the program wrote it.
            StoreError: it is damaged, or of another sequence than its name says.
            FileNotFoundError: it has been removed, because there are two newer ones.
        """
        _check_size(name, self._storage.size(name))
        with self._storage.stream(name) as file:
            header = file.read(HEADER.size)
            if len(header) < HEADER.size:
                raise StoreError(f"{name}: byte {len(header)}: the snapshot is cut short")
            magic, version, rulebook_version, crc = HEADER.unpack(header)
            if magic != MAGIC or crc != _crc_of_rest(file):
                raise StoreError(f"{name}: the snapshot is damaged")
            file.seek(HEADER.size)
            body = file.read()
        if version not in DECODERS:
            known = ", ".join(map(str, DECODERS))
            raise UnsupportedFormat(
                f"{name}: written as version {version}; this program knows version {known}"
            )
        check_rulebook(name, rulebook_version)
        try:
            found = DECODERS[version](body)
        except UNREADABLE as error:
            raise UnsupportedFormat(f"{name}: an unknown record ({error})") from None
        if found.sequence != sequence_of(name):
            raise StoreError(f"{name}: this is the snapshot of sequence {found.sequence}")
        with suppress(UnsupportedFormat):  # the place is one in a log of another kind
            at = position_of(Place(found.place))
            of_place = at.next_sequence - 1, at.timestamp_ns, at.closed
            if of_place != (found.sequence, found.timestamp_ns, found.closed):
                raise StoreError(f"{name}: its place in the log is of another sequence or time")
        return found


def _check_size(name: str, size: int) -> None:
    if size > SNAPSHOT_BYTES_MAX:
        raise StoreError(
            f"{name}: {size} bytes; a snapshot never has more than {SNAPSHOT_BYTES_MAX}"
        )


def _crc_of_rest(file: BinaryIO) -> int:
    """The checksum of what follows in a file, in little memory: it may be no snapshot at all."""
    crc = 0
    while piece := file.read(COPY_BYTES):
        crc = crc32c(piece, crc)
    return crc


def restore(snapshot: Snapshot) -> Matcher:
    """A matcher in the state of `snapshot`. O(orders · log levels).

    A lie that the state hash does not cover, and that contradicts nothing, is believed:
    `difference` finds it.

    Raises:
        StoreError: it contradicts itself, or the state hash is another one.
    """
    matcher = Matcher()
    matcher.sequence = snapshot.sequence
    matcher.last_trade_id = snapshot.last_trade_id
    for symbol, (tick_size, lot_size) in snapshot.instruments.items():
        matcher.open_book(symbol, tick_size, lot_size)
    try:
        matcher.finished.restore(snapshot.dense_blocks, snapshot.terminal)
    except ValueError as error:
        raise StoreError(f"{name_of(matcher.sequence)}: {error}") from None
    if any(kept.symbol not in snapshot.instruments for kept in snapshot.orders):
        raise StoreError(f"{name_of(matcher.sequence)}: an order of an instrument not listed")
    for kept in snapshot.orders:
        side = matcher.book(kept.symbol).side(kept.side)
        matcher.orders[kept.order_id] = order = Order(
            side.level(kept.price), kept.participant, kept.remaining, kept.status, None, None,
            kept.order_id, kept.self_trade_prevention, kept.post_only,
        )  # fmt: skip
        side.append(order)
        if kept.status not in RESTING or matcher.finished.number(kept.order_id):
            raise StoreError(
                f"{name_of(matcher.sequence)}: order {kept.order_id} rests and has finished"
            )
    if len(matcher.orders) < len(snapshot.orders) or matcher.last_trade_id < 0:
        raise StoreError(f"{name_of(matcher.sequence)}: an order or the trades are counted wrong")
    matcher.highest_id = max(matcher.finished.bound(), max(matcher.orders, default=0))
    if matcher.state_hash() != snapshot.state_hash:
        raise StoreError(f"{name_of(matcher.sequence)}: the state hash differs")
    return matcher


def difference(found: Snapshot, matcher: Matcher, replayed: Snapshot, truth: Matcher) -> str:
    """The field of a snapshot that is not as a replay has it, or an empty text. O(ids).

    `matcher` is what was restored from it, `replayed` what `take` gives for the `truth`, at the
    same place.
    """
    for field in ("timestamp_ns", "closed", "last_trade_id", "instruments", "orders"):
        if getattr(found, field) != getattr(replayed, field):
            return field
    if not matcher.finished.same_as(truth.finished):
        return "finished orders"
    return "" if found.unrecorded == replayed.unrecorded else "unrecorded"


def take(
    matcher: Matcher,
    *,
    timestamp_ns: int,
    place: Place,
    closed: bool,
    unrecorded: list[list[AnyEvent]],
    attached: bytes = b"",
) -> Snapshot:
    """The state of `matcher`, which has applied everything before `place`. O(orders).

    Raises:
        InvariantBroken: an order is neither in a book nor terminal: the snapshot would lose it.
    """
    orders = [
        RestingOrder(
            symbol, side, order.level.price, order.order_id, order.participant, order.remaining,
            order.status, order.self_trade_prevention, order.post_only,
        )
        for symbol, side, order in matcher.resting_orders()
    ]  # fmt: skip
    check(len(orders) == len(matcher.orders), "every order that is not finished rests in a book")
    finished = matcher.finished
    return Snapshot(
        matcher.sequence, timestamp_ns, place, closed, matcher.last_trade_id, matcher.instruments,
        orders, finished.dense_blocks(), dict(finished.sparse), unrecorded, matcher.state_hash(),
        attached,
    )  # fmt: skip
