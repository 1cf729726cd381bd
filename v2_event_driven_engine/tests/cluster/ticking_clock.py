"""Time that goes on only where somebody waits."""

from v2_event_driven_engine.cluster.stream import Clock


class TickingClock(Clock):
    """A clock that waiting sets on."""

    def __init__(self) -> None:
        self.now = 0.0

    def time_ns(self) -> int:
        return int(self.now * 1e9)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
