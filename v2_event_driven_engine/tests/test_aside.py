"""What is kept aside: the bytes of a torn tail, and those of a damaged audit trail."""

import json
import random
from contextlib import suppress
from pathlib import Path

import pytest

from v2_event_driven_engine import EventDrivenMatchingEngine
from v2_event_driven_engine.engine.audit.trail import AUDIT_LOG, verify_against_log
from v2_event_driven_engine.engine.log.reader import segment_name
from v2_event_driven_engine.engine.log.storage import DirectoryStorage
from v2_event_driven_engine.main import main

from .faults import proves
from .flow import commands
from .logs import log_in, logger_on, open_log, process, recover, sequencer_on
from .simulated_disk import PowerFailure, SimulatedDisk
from .test_log import crashed_copy, run_engine

TORN_BYTES = b"what a batch left"
TRAIL_BYTES = b"no audit line\n"


def torn(tmp_path: Path) -> Path:
    """A directory with a torn tail and a damaged trail."""
    run_engine(tmp_path / "whole", 40, max_batch=4)
    logger_on(DirectoryStorage(tmp_path / "whole")).catch_up()
    data_dir = crashed_copy(tmp_path / "whole", tmp_path / "crashed")
    path = data_dir / segment_name(1)
    data = bytearray(path.read_bytes())
    end = -(-len(data.rstrip(b"\0")) // 512) * 512
    data[end : end + len(TORN_BYTES)] = TORN_BYTES
    path.write_bytes(data)
    with (data_dir / AUDIT_LOG).open("ab") as trail:
        trail.write(TRAIL_BYTES)
    return data_dir


def report_of(arguments: list[str], data_dir: Path, capfd: pytest.CaptureFixture[str]) -> object:
    assert main([*arguments, "--json", "--data-dir", str(data_dir)]) == 0
    return json.loads(capfd.readouterr().out)


@proves("kept aside")
def test_what_is_kept_aside_is_counted_and_can_be_archived(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data_dir = torn(tmp_path)

    def counted() -> tuple[int, int]:
        report = report_of(["status"], data_dir, capfd)
        assert isinstance(report, dict)
        return report["kept_aside_files"], report["kept_aside_bytes"]

    assert counted() == (0, 0)
    EventDrivenMatchingEngine.open(data_dir).close()
    both = 2, len(TORN_BYTES) + len(TRAIL_BYTES)
    assert counted() == both
    names = sorted(path.name for path in data_dir.iterdir() if path.stat().st_size < 20)
    assert names[1] == f"{segment_name(1)}.torn"
    assert names[0].startswith(f"{AUDIT_LOG}.damaged-")
    report = report_of(["snapshot", "--archive"], data_dir, capfd)
    assert isinstance(report, dict)
    assert set(names) <= set(report["archived"])
    archived = data_dir / "archive"
    assert [(archived / name).read_bytes() for name in names] == [TRAIL_BYTES, TORN_BYTES]
    assert not any((data_dir / name).exists() for name in names)
    assert counted() == both, "in the archive they are still known"
    again = report_of(["snapshot", "--archive"], data_dir, capfd)
    assert isinstance(again, dict)
    assert again["archived"] == []
    assert main(["verify", "--data-dir", str(data_dir)]) == 0


@proves("kept aside")
def test_what_is_kept_aside_is_on_the_disk_before_the_start_is_over() -> None:
    disk = SimulatedDisk()
    state, log = open_log(disk, segment_bytes=4096)
    sequencer = sequencer_on(state, log)
    for command in commands(6, 1):
        process(sequencer, command)
    logger = logger_on(disk)
    logger.catch_up()
    logger.close()
    segment, trail = disk.names_now[segment_name(1)], disk.names_now[AUDIT_LOG]
    end = -(-len(bytes(segment.content).rstrip(b"\0")) // 512) * 512
    segment.write(end, TORN_BYTES)
    segment.sync()
    trail.write(len(trail.content), TRAIL_BYTES)
    trail.sync()
    open_log(disk, segment_bytes=4096)
    logger_on(disk)
    for seed in range(50):
        image = disk.crash_image(random.Random(seed))
        aside = {name: bytes(file.content) for name, file in image.names_now.items()}
        [damaged] = [name for name in aside if name.startswith(f"{AUDIT_LOG}.damaged-")]
        assert aside[f"{segment_name(1)}.torn"] == TORN_BYTES
        assert aside[damaged] == TRAIL_BYTES


@proves("kept aside")
def test_a_trail_is_never_cut_before_its_damaged_end_is_kept_and_no_half_of_it_is_kept() -> None:
    """The power fails at every call while the trail's damaged end is put aside."""
    whole = b""
    for crash_at in range(1, 100):
        disk = SimulatedDisk()
        state, log = open_log(disk, segment_bytes=4096)
        sequencer = sequencer_on(state, log)
        for command in commands(6, 1):
            process(sequencer, command)
        sequencer.idle()
        logger = logger_on(disk)
        logger.catch_up()
        logger.close()
        trail = disk.names_now[AUDIT_LOG]
        trail.write(len(trail.content), TRAIL_BYTES)
        trail.sync()
        disk = disk.restarted(crash_at=crash_at)
        crashed = True
        with suppress(PowerFailure):
            logger_on(disk).close()
            crashed = False
        for seed in range(10):
            image = disk.crash_image(random.Random(seed))
            kept = [n for n in image.names() if n.startswith(f"{AUDIT_LOG}.damaged-")]
            assert all(image.read(name) == TRAIL_BYTES for name in kept)
            assert kept or TRAIL_BYTES in image.read(AUDIT_LOG)
            after = logger_on(image)
            after.catch_up()
            assert verify_against_log(image, log_in(image))[1] is None
            whole = whole or image.read(AUDIT_LOG)
            assert image.read(AUDIT_LOG) == whole
        if not crashed:
            assert recover(disk).matcher.sequence == 6
            return
    pytest.fail("the start never ran to its end")
