"""A signal is noted at once and acted on only where nothing is under way."""

import signal
from collections.abc import Iterator

import pytest

from ..utils.signals import GracefulStop, StopRequested


@pytest.fixture
def stop() -> Iterator[GracefulStop]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stop = GracefulStop()
    stop.install()
    yield stop
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_outside_waiting_is_noted_and_raised_at_the_next_wait(stop: GracefulStop) -> None:
    with stop.waiting():
        pass
    signal.raise_signal(signal.SIGTERM)
    reached = False
    with pytest.raises(StopRequested), stop.waiting():
        reached = True
    assert not reached
    assert stop.exit_status == 143


def test_a_signal_while_waiting_is_raised_at_once(stop: GracefulStop) -> None:
    with pytest.raises(StopRequested), stop.waiting():
        signal.raise_signal(signal.SIGINT)
    assert stop.exit_status == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_process_at_once(
    stop: GracefulStop, number: signal.Signals
) -> None:
    signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(number) is signal.SIG_DFL
