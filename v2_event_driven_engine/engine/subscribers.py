"""Who is called with every event, while the engine runs."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from ..errors import described
from .events import AnyEvent

_logger = logging.getLogger(__name__)

Subscriber = Callable[[Sequence[AnyEvent]], None]


class Subscribers:
    """Hands every event, in order and once, to every subscriber.

    Subscribers are called by the writer thread with the events of one command, after the command is
    durable and applied. They should be quick (put it into a queue of their own) and must not wait
    for the engine, which gives them `WriterBlocked`. One that raises is dropped, and its exception
    logged and kept in `failures`: a consumer can lag or die without harm to the engine, and can
    always catch up from the log.
    """

    def __init__(self) -> None:
        self._subscribers: tuple[Subscriber, ...] = ()
        self.failures: list[tuple[Subscriber, BaseException]] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        """From the next command on, call `subscriber` with the events of each command."""
        self._subscribers = (*self._subscribers, subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Stop calling `subscriber`."""
        self._subscribers = tuple(s for s in self._subscribers if s != subscriber)

    def publish(self, batch: Sequence[Sequence[AnyEvent]]) -> None:
        """Hand out the events of some commands. Only the writer thread calls this."""
        for subscriber in self._subscribers:
            try:
                for events in batch:
                    subscriber(events)
            except BaseException as error:  # a consumer's failure, whatever it is, is its own
                self._subscribers = tuple(s for s in self._subscribers if s is not subscriber)
                self.failures.append((subscriber, error))
                with suppress(BaseException):  # a handler of the log may raise, too
                    _logger.warning("a subscriber was dropped: %s", described(error))
