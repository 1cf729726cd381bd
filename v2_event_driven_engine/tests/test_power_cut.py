"""The real thing: a file system that is shut down while an engine writes to it.

An ext4 file system in an image file is told by `EXT4_IOC_SHUTDOWN` to stop at once, without
flushing its journal: what no sync has brought to the image by then is lost, as with the power. It
is mounted again, which recovers the journal, and the engine's life goes on in the same directory.

This needs root, `mkfs.ext4` and loop devices; without them these tests are skipped, and say so.
`POWER_CUTS` in the environment says how many lives there are (default 3), `POWER_SEED` which.
"""

import fcntl
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pytest

from v2_event_driven_engine import EventDrivenMatchingEngine
from v2_event_driven_engine.engine.audit.trail import end_of_trail
from v2_event_driven_engine.engine.log.snapshot import Snapshots
from v2_event_driven_engine.engine.market.matcher import Matcher
from v2_event_driven_engine.main import main

from .faults import proves
from .flow import commands
from .logs import log_in, recover, storage_of
from .test_machine import eventually
from .victim import digest

ROOT = Path(__file__).resolve().parents[2]
CUTS = int(os.environ.get("POWER_CUTS", "3"))
SEED = int(os.environ.get("POWER_SEED", "1"))
DEADLINE_SECONDS = 60.0
IMAGE_BYTES = 64 * 1024 * 1024
ENDLESS = 10**9
pytestmark = pytest.mark.once
SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN: `_IOR('X', 125, __u32)`."""
NO_LOG_FLUSH = 2
"""EXT4_GOING_FLAGS_NOLOGFLUSH: not even what the journal has in memory is written."""

SNAPSHOTS = """\
import sys
from v2_event_driven_engine.main import main
while True:
    main(["snapshot", "--archive", "--data-dir", sys.argv[1]])
"""


class Disk:
    """A file system in an image file, mounted at `mounted`."""

    def __init__(self, folder: Path) -> None:
        self._image = folder / "image"
        self.mounted = folder / "mounted"
        self.mounted.mkdir()
        with self._image.open("wb") as image:
            image.truncate(IMAGE_BYTES)
        call("mkfs.ext4", "-q", "-F", str(self._image))

    def mount(self, journal: str = "ordered") -> None:
        """Mount it, which recovers the journal; `journal` says how it treats data."""
        options = f"loop,data={journal}"
        call("mount", "-t", "ext4", "-o", options, str(self._image), str(self.mounted))

    def cut_power(self) -> None:
        """From now on nothing reaches the image."""
        directory = os.open(self.mounted, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(directory)

    def unmount(self) -> None:
        """Unmount it, once the last process has left it. The loop device goes with it."""
        eventually(lambda: _try("umount", str(self.mounted)) == "", "the disk is left by all")

    def abandon(self) -> None:
        """Leave nothing mounted, whatever happened."""
        while self.mounted.is_mount() and _try("umount", "--lazy", str(self.mounted)) == "":
            pass

    def loop_devices(self) -> str:
        """The loop devices that have the image open."""
        command = ["losetup", "--associated", str(self._image)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def call(*command: str) -> None:
    """Run a program; what it complains of is the error."""
    complaint = _try(*command)
    if complaint:
        raise OSError(complaint)


def _try(*command: str) -> str:
    """Run a program, and give what it complains of."""
    if shutil.which(command[0]) is None:
        return f"{command[0]} is not installed"
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if finished.returncode == 0 else f"{command[0]}: {finished.stderr.strip()}"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk that is mounted, if this machine can cut its power."""
    disk = None
    try:
        if os.geteuid() != 0:
            pytest.skip("to mount a file system one has to be root")
        try:
            disk = Disk(tmp_path)
            disk.mount()
            disk.cut_power()
            disk.unmount()
            disk.mount()
        except OSError as error:
            pytest.skip(f"the power of a file system cannot be cut here: {error}")
        yield disk
    finally:
        if disk is not None:
            disk.abandon()


class Life(NamedTuple):
    """What a life, which a power cut ends, is like."""

    in_flight: int
    segment_bytes: int
    answers: int
    """Given before the power is cut; unless it is cut earlier, after so many seconds."""
    seconds: float
    snapshots: bool
    journal: str
    opened: bool
    """Whether the engine is opened and closed after it; else the next victim finds what is left."""
    audit: bool = True
    without_sync: bool = False


def some_life(choose: random.Random) -> Life:
    """A life drawn by lot; one of four may be cut while it starts."""
    in_flight = choose.choice((1, 3, 16, 64, 512))
    return Life(
        in_flight=in_flight,
        segment_bytes=choose.choice((4096, 16 * 1024, 64 * 1024)),
        answers=choose.randrange(1, 200 * min(in_flight, 10)),
        seconds=choose.uniform(0.2, 0.6) if choose.random() < 0.25 else DEADLINE_SECONDS,
        snapshots=choose.random() < 0.6,
        journal=choose.choice(("ordered", "writeback")),
        opened=choose.random() < 0.5,
    )


@contextmanager
def running(*arguments: str, stdout: int) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process, which is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stdout=stdout, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def live_until_the_power_is_cut(disk: Disk, data_dir: Path, life: Life) -> dict[int, str]:
    """One life; the answers that were given, as they were known outside, with their digests."""
    flags = ["--audit"] * life.audit + ["--without-sync"] * life.without_sync
    victim = [
        "-m", f"{__package__}.victim", str(data_dir), str(ENDLESS), str(SEED), *flags,
        "--in-flight", str(life.in_flight), "--segment-bytes", str(life.segment_bytes),
    ]  # fmt: skip
    answered: list[bytes] = []
    timer = threading.Timer(life.seconds, disk.cut_power)
    with ExitStack() as held:
        process = held.enter_context(running(*victim, stdout=subprocess.PIPE))
        if life.snapshots:
            snapshots = running("-c", SNAPSHOTS, str(data_dir), stdout=subprocess.DEVNULL)
            held.enter_context(snapshots)
        timer.start()
        held.callback(timer.join)
        held.callback(timer.cancel)
        assert process.stdout is not None
        for line in process.stdout:
            answered.append(line)
            if len(answered) == life.answers:
                disk.cut_power()
        assert process.wait(DEADLINE_SECONDS) == 3, "a victim stops when the power is cut"
    return {
        int(sequence): events for sequence, events in (line.decode().split() for line in answered)
    }


def check_nothing_is_lost(data_dir: Path, answered: dict[int, str]) -> int:
    """What was answered is in the log, once, in its order, with the same events; the end of it."""
    log = log_in(data_dir)
    logged = [command for batch in log.read() for command in batch.commands]
    sequence = len(logged)
    assert max(answered, default=0) <= sequence, "answers were lost"
    assert logged == list(islice(commands(ENDLESS, SEED), sequence))
    derived = Matcher()
    for batch in log.read():
        happened = derived.apply(batch.first_sequence, batch.timestamp_ns, batch.commands)
        for number, events in enumerate(happened, batch.first_sequence):
            assert answered.get(number, digest(events)) == digest(events)
    assert recover(data_dir).matcher.state_hash() == derived.state_hash()
    return sequence


def check_start(data_dir: Path, sequence: int, segment_bytes: int) -> None:
    """An engine opens the directory; then the trail is whole, and `verify` finds nothing wrong."""
    state_hash = recover(data_dir).matcher.state_hash()
    with EventDrivenMatchingEngine.open(data_dir, segment_bytes=segment_bytes) as engine:
        assert engine.state()[::2] == (sequence, state_hash)
    assert not engine.audit_is_behind
    assert end_of_trail(storage_of(data_dir)).sequence == sequence
    assert main(["verify", "--json", "--data-dir", str(data_dir)]) == 0


@proves("power cut", "power", "kill")
def test_lives_that_power_cuts_end_lose_nothing_answered(disk: Disk) -> None:
    choose = random.Random(SEED)
    data_dir = disk.mounted / "data"
    answered: dict[int, str] = {}
    sequence = 0
    for number in range(1, CUTS + 1):
        life = some_life(choose)
        try:
            answered |= live_until_the_power_is_cut(disk, data_dir, life)
            disk.unmount()
            disk.mount(life.journal)
            if answered or data_dir.exists():
                found = check_nothing_is_lost(data_dir, answered)
                assert found >= sequence, "what was durable is durable for ever"
                sequence = found
                if life.opened or number == CUTS:
                    check_start(data_dir, sequence, life.segment_bytes)
        except Exception as failure:
            failure.add_note(f"POWER_SEED={SEED}, life {number}: {life}")
            raise
    assert len(answered) > 20 * CUTS, "the lives are long enough to be worth ending"
    if CUTS >= 20:
        storage = storage_of(data_dir)
        assert len(log_in(data_dir).files()) > CUTS
        assert Snapshots(storage).names()
        assert any((data_dir / "archive").iterdir())


def test_an_engine_that_does_not_sync_loses_answers(disk: Disk) -> None:
    """The check above can fail: a page cache that was never synced is gone after a power cut."""
    data_dir = disk.mounted / "data"
    life = Life(16, 1 << 20, 500, DEADLINE_SECONDS, False, "ordered", False, False, True)
    answered = live_until_the_power_is_cut(disk, data_dir, life)
    disk.unmount()
    disk.mount()
    with pytest.raises(AssertionError, match="answers were lost"):
        check_nothing_is_lost(data_dir, answered)


def test_a_disk_that_somebody_has_open_is_given_back_all_the_same(disk: Disk) -> None:
    with (disk.mounted / "file").open("wb"):
        assert disk.loop_devices()
        disk.abandon()
        assert not disk.mounted.is_mount()
    eventually(lambda: not disk.loop_devices(), "the loop device is free")
