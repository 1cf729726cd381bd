"""Clients and their answers: a request that is repeated acts once.

A client gives its requests to a partition successive numbers, and repeats those that were not
answered. The table of who sent what is derived from the log alone (each batch is tagged with the
requests that it is made of), so every node has the same one, and a new writer answers a repeated
request as the old one would have.

The table is bounded: a client that was silent for long is forgotten. So that its old requests are
not taken for those of a new client, a new one begins with the number after the log's sequence, as
it was told at its first question. A request then has a number that is at most the sequence of its
last command; whoever is forgotten at a sequence had numbers far below it; and of a client that is
not known only a number near the end of the log is taken.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence

import msgspec

from ..engine.event_log import Outcomes
from ..engine.log.checksum import crc32c
from ..engine.log.format import UNREADABLE, encode_outcomes
from ..errors import StoreError

KEPT_ANSWERS = 64
"""Of each client. It must not have more requests without an answer than half of it."""
OPEN_REQUESTS_MAX = KEPT_ANSWERS // 2
FORGOTTEN_AFTER = 10_000_000
"""Commands of others, after which a client that sends nothing is forgotten."""


def is_too_old(number: int, sequence: int) -> bool:
    """Whether a number may be of a client that is forgotten, where the log ends at `sequence`.

    The last number of one that is forgotten is `FORGOTTEN_AFTER` below it, and what it may have
    sent after that at most `OPEN_REQUESTS_MAX` more.
    """
    return number <= sequence - FORGOTTEN_AFTER // 2


class Origin(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A request that a batch is made of: the `number` of its client, with so many commands."""

    client: int
    number: int
    commands: int


class Answer:
    """What became of a request: the sequence of its first command, and the events of each."""

    __slots__ = ("_events", "first_sequence", "number")

    def __init__(self, number: int, first_sequence: int, events: Outcomes | bytes) -> None:
        self.number = number
        self.first_sequence = first_sequence
        self._events = events

    @property
    def encoded(self) -> bytes:
        """The events as MessagePack: a list for each command. They are encoded once. O(events)."""
        events = self._events
        if not isinstance(events, bytes):
            self._events = events = encode_outcomes(events)
        return events


_encode = msgspec.msgpack.Encoder().encode
_decode_tag = msgspec.msgpack.Decoder(list[Origin]).decode
_decode_table = msgspec.msgpack.Decoder(list[tuple[int, int, list[tuple[int, int, bytes]]]]).decode


def tag_of(origins: Sequence[Origin]) -> bytes:
    """What a batch is tagged with."""
    return _encode(origins)


def origins_in(tag: bytes) -> list[Origin]:
    """The requests that a batch is made of.

    Raises:
        StoreError: it was not tagged by a node.
    """
    try:
        return _decode_tag(tag)
    except UNREADABLE as error:
        raise StoreError(f"a batch without its requests ({error})") from None


class _Client:
    """One client: its last answers, and the sequence of its last command."""

    __slots__ = ("answers", "last_sequence")

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque(maxlen=KEPT_ANSWERS)
        self.last_sequence = 0


class Sessions:
    """The table of clients. Memory: `KEPT_ANSWERS` answers a client."""

    def __init__(self) -> None:
        self._clients: OrderedDict[int, _Client] = OrderedDict()
        """The one that has been silent for longest first."""

    def last_number(self, client: int) -> int:
        """Of the client's last request that is in the log; 0 if there is none. O(1)."""
        known = self._clients.get(client)
        return known.answers[-1].number if known is not None else 0

    def answer(self, client: int, number: int) -> Answer | None:
        """The answer to a request, if it is still kept. O(1)."""
        known = self._clients.get(client)
        if known is None:
            return None
        place = number - known.answers[0].number
        return known.answers[place] if 0 <= place < len(known.answers) else None

    def next_number(self, client: int, number: int, sequence: int) -> int:
        """The number of the client's next request, where the log ends at `sequence`. O(1).

        A client that is not known begins with `number`, unless that is too old: then it has none.
        """
        last = self.last_number(client)
        if last:
            return last + 1
        return 0 if is_too_old(number, sequence) else number

    def note(
        self, origins: Sequence[Origin], first_sequence: int, outcomes: Outcomes
    ) -> list[Answer]:
        """Enter the requests that a batch was made of, and give their answers. O(requests).

        Raises:
            StoreError: a number does not follow the client's last one, or they have other commands.
        """
        at = 0
        answers = []
        for origin in origins:
            known = self._clients.get(origin.client)
            if known is None:
                known = self._clients[origin.client] = _Client()
            elif origin.number != known.answers[-1].number + 1:
                raise StoreError(
                    f"client {origin.client}: request {origin.number} in the log after "
                    f"{known.answers[-1].number}"
                )
            self._clients.move_to_end(origin.client)
            known.last_sequence = first_sequence + at + origin.commands - 1
            events = outcomes[at : at + origin.commands]
            answers.append(Answer(origin.number, first_sequence + at, events))
            known.answers.append(answers[-1])
            at += origin.commands
        if at != len(outcomes):
            raise StoreError(
                f"sequence {first_sequence}: a batch of {at} commands has another size"
            )
        self._forget_before(first_sequence - FORGOTTEN_AFTER)
        return answers

    def _forget_before(self, sequence: int) -> None:
        while self._clients:
            client, known = next(iter(self._clients.items()))
            if known.last_sequence >= sequence:
                return
            del self._clients[client]

    def __iter__(self) -> Iterator[int]:
        return iter(self._clients)

    def dump(self) -> bytes:
        """The whole table as bytes. O(answers)."""
        return _encode(
            [
                (
                    client,
                    known.last_sequence,
                    [(each.number, each.first_sequence, each.encoded) for each in known.answers],
                )
                for client, known in self._clients.items()
            ]
        )

    @classmethod
    def load(cls, data: bytes) -> "Sessions":
        """The table that `dump` gave as bytes.

        Raises:
            StoreError: these are other bytes.
        """
        sessions = cls()
        try:
            clients = _decode_table(data)
        except UNREADABLE as error:
            raise StoreError(f"this is not a table of sessions ({error})") from None
        for client, last_sequence, answers in clients:
            known = sessions._clients[client] = _Client()
            known.last_sequence = last_sequence
            known.answers.extend(Answer(*answer) for answer in answers)
        return sessions

    def hash(self) -> str:
        """Equal for equal tables. O(answers)."""
        return f"{crc32c(self.dump()):08x}"
