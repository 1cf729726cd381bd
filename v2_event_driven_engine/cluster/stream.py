"""What is asked of a replicated stream, and how to append to one without a doubt.

A stream is a list of messages 1, 2, 3 … that a majority of machines keeps. It does one thing more
than a list: it adds a message only at the position that the sender expects. That is the fence.
"""

import enum
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

from ..errors import Fenced, LogUnavailable

PATIENCE_SECONDS: Final = 60.0
"""How long an append is tried before its writer gives up."""
RETRY_SECONDS: Final = 0.02


class Attempt(enum.Enum):
    """What is known after one attempt to add a message."""

    STORED = enum.auto()
    """It is there, and a majority keeps it."""
    REFUSED = enum.auto()
    """There is another message at this position, or there are too few before it."""
    UNKNOWN = enum.auto()
    """No answer came: it may be stored, now, later or never."""


class Clock(Protocol):
    """Time, as the one who runs the node has it."""

    def time_ns(self) -> int:
        """Nanoseconds since 1970."""

    def monotonic(self) -> float:
        """Seconds since any moment; it never goes back."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock(Clock):
    """The machine's time."""

    def time_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Stream(Protocol):
    """One stream, seen from one node. Every call blocks; the calls come from one thread."""

    name: str

    def attempt(self, messages: Sequence[bytes], position: int) -> Attempt:
        """Try once to add messages as those from `position` on, all in flight together.

        STORED is said if all are, otherwise what is known of the first that is not. One after that
        is stored only where the stream has, or gets, all before it: also those of somebody else.
        """

    def get(self, position: int) -> bytes | None:
        """The message at a position, as the leader has it; None if there is none.

        Raises:
            LogUnavailable: no leader answered.
        """

    def after(self, position: int, seconds: float = 0.0) -> Sequence[bytes]:
        """Some of the messages from `position + 1` on, in order.

        () if none came within `seconds`, although more may be there; asked again and again it gives
        them, even if none is ever added after them. Everything that it returns is kept by a
        majority, but where it comes from a damaged copy: see `doubted`.
        """

    def distrust(self) -> None:
        """What `after` gave last is not what the leader has: give no more from there, and say so.

        A server that could not write a message, because its disk was full, may have left it out.
        """

    def last(self) -> int:
        """The position of the last message, as the leader has it; 0 if there is none.

        Raises:
            LogUnavailable: no leader answered.
        """


# --8<-- [start:append]
def append(stream: Stream, messages: Sequence[bytes], position: int, clock: Clock) -> None:
    """Add messages from `position` on. On return a majority keeps them.

    The same bytes are offered for the same positions until it is known what is there: so an attempt
    that seemed to fail, and arrives late, does no harm. Nothing is concluded from where the stream
    ends: somebody else may have written that.

    Raises:
        Fenced: another message is at one of these positions.
        LogUnavailable: nothing could be found out for `PATIENCE_SECONDS`.
    """
    give_up = clock.monotonic() + PATIENCE_SECONDS
    while stream.attempt(messages, position) is not Attempt.STORED:
        with suppress(LogUnavailable):
            while messages and (there := stream.get(position)) is not None:
                if there != messages[0]:
                    raise Fenced(f"{stream.name}: message {position} is another node's")
                messages, position = messages[1:], position + 1
        if not messages:
            return
        if clock.monotonic() > give_up:
            raise LogUnavailable(
                f"{stream.name}: message {position} could not be added for "
                f"{PATIENCE_SECONDS:.0f} s: is a majority of the servers running?"
            )
        clock.sleep(RETRY_SECONDS)


# --8<-- [end:append]


def kept(stream: Stream, position: int) -> bytes:
    """The message at a position where there must be one, as the leader has it.

    Raises:
        LogUnavailable: no leader answered, or it has none there, as one that was just deposed.
    """
    there = stream.get(position)
    if there is None:
        raise LogUnavailable(f"{stream.name}, message {position}: no leader has it at present")
    return there


def doubted(stream: Stream, position: int, message: bytes) -> bytes:
    """What the leader has where `after` gave a message that cannot be there.

    If that is another one, one server's copy is damaged, and is read no more. Raises as `kept`.
    """
    there = kept(stream, position)
    if there != message:
        stream.distrust()
    return there


def fetch(stream: Stream, position: int, seconds: float) -> Sequence[bytes]:
    """Some of the messages after a position; the leader's where `after` gives none in time.

    A server that is behind, or whose copy is damaged, may not give the last ones.

    Raises:
        LogUnavailable: no leader answered.
    """
    messages = stream.after(position, seconds)
    if not messages and (there := stream.get(position + 1)) is not None:
        return [there]
    return messages
