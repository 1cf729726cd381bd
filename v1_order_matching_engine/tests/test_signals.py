"""A signal is noted at once and acted on only where nothing is under way."""

import os
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
    signal.set_wakeup_fd(-1)
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


def test_a_signal_ends_the_wait_for_input_before_anything_is_read(stop: GracefulStop) -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b"x")
        stop.wait_for_input(reading)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(StopRequested):
            stop.wait_for_input(reading)
        assert os.read(reading, 2) == b"x"
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_process_at_once(
    stop: GracefulStop, number: signal.Signals
) -> None:
    signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(number) is signal.SIG_DFL
