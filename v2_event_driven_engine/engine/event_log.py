"""The ordered stream of what happened, and who listens to it."""

from collections.abc import Callable, Sequence

from .events import AnyEvent

Subscriber = Callable[[Sequence[AnyEvent]], None]


class EventLog:
    """Hands every event, in order and once, to every subscriber.

    Subscribers are called by the writer thread with the events of one command, after the command is
    durable and applied. They should be quick (put it into a queue of their own) and must not call
    the engine. One that raises is dropped and its exception kept in :attr:`failures`: a consumer
    can lag or die without harming the engine, and can always catch up from the log on disk.
    """

    def __init__(self) -> None:
        self._subscribers: tuple[Subscriber, ...] = ()
        self.failures: list[tuple[Subscriber, Exception]] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        """From the next command on, call ``subscriber`` with the events of each command."""
        self._subscribers = (*self._subscribers, subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Stop calling ``subscriber``."""
        self._subscribers = tuple(s for s in self._subscribers if s != subscriber)

    def publish(self, batch: Sequence[Sequence[AnyEvent]]) -> None:
        """Hand out the events of some commands. Only the writer thread calls this."""
        for subscriber in self._subscribers:
            try:
                for events in batch:
                    subscriber(events)
            except Exception as error:  # whatever a consumer does is not our failure
                self.unsubscribe(subscriber)
                self.failures.append((subscriber, error))
