"""A stream in memory: what a majority would keep, without the majority."""

from collections.abc import Sequence

from v2_event_driven_engine.cluster.stream import Attempt, Clock, Stream


class NoClock(Clock):
    """For what never has to wait."""

    def time_ns(self) -> int:
        return 1

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError("there is nothing to wait for")


no_clock = NoClock()


class MemoryStream(Stream):
    """A list that takes a message only where it is expected."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.messages: list[bytes] = []

    def attempt(self, messages: Sequence[bytes], position: int) -> Attempt:
        if position != len(self.messages) + 1:
            return Attempt.REFUSED
        self.messages += messages
        return Attempt.STORED

    def get(self, position: int) -> bytes | None:
        return self.messages[position - 1] if 0 < position <= len(self.messages) else None

    def after(self, position: int, seconds: float = 0.0) -> Sequence[bytes]:
        return self.messages[position : position + 7]

    def distrust(self) -> None:
        raise AssertionError("there is one copy only")

    def last(self) -> int:
        return len(self.messages)


class OneCopyDamaged(MemoryStream):
    """One server of two has left out a message; who distrusts it comes to the other one."""

    def __init__(self, name: str, messages: Sequence[bytes], left_out: int) -> None:
        super().__init__(name)
        self.messages = list(messages)
        self._copy = [*messages[: left_out - 1], *messages[left_out:]]
        self.distrusted = 0

    def after(self, position: int, seconds: float = 0.0) -> Sequence[bytes]:
        copy = self.messages if self.distrusted else self._copy
        return copy[position : position + 7]

    def distrust(self) -> None:
        self.distrusted += 1
