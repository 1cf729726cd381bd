"""Old logs stay readable, and nothing about their bytes changes without a new version."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from v2_event_driven_engine import EventDrivenMatchingEngine, LogDamaged
from v2_event_driven_engine.engine.audit.trail import verify_against_log
from v2_event_driven_engine.engine.events import AnyEvent
from v2_event_driven_engine.engine.log import format as wal_format
from v2_event_driven_engine.engine.log import snapshot
from v2_event_driven_engine.engine.log.format import FORMAT_VERSION, RULEBOOK_VERSION
from v2_event_driven_engine.engine.log.snapshot import Snapshots
from v2_event_driven_engine.engine.log.storage import DirectoryStorage
from v2_event_driven_engine.models.commands import Command

from . import golden_files
from .faults import proves
from .golden_files import COMMANDS, GOLDEN, OF_SNAPSHOTS, OF_THE_LOG, SCHEMA, SNAPSHOT_AT
from .logs import log_in, recover, replay

PACKAGE = Path(__file__).resolve().parents[1]
GOLDEN_HASH = "9cbe04e267cf741b7f11000b890a4a43cfdee995d368a48fe0ff723faa27a417"
FORMATS = [GOLDEN / f"format_{version}" for version in wal_format.DECODERS]


# -- What was written once is readable for ever -------------------------------------------------


@proves("old format")
@pytest.mark.parametrize("golden", FORMATS, ids=lambda path: path.name)
def test_the_golden_log_of_every_format_stays_readable(golden: Path) -> None:
    state = replay(golden)
    assert (state.matcher.sequence, state.matcher.state_hash()) == (COMMANDS, GOLDEN_HASH)
    assert recover(golden).snapshot_sequence == SNAPSHOT_AT
    assert (recover(golden).matcher.state_hash(), recover(golden).warnings) == (GOLDEN_HASH, [])
    assert verify_against_log(DirectoryStorage(golden), log_in(golden))[1] is None


@proves("old format")
@pytest.mark.parametrize("golden", FORMATS, ids=lambda path: path.name)
def test_a_log_of_any_format_is_gone_on_with(golden: Path, tmp_path: Path) -> None:
    for path in golden.iterdir():
        shutil.copy(path, tmp_path)
    for number in (1, 2):
        with EventDrivenMatchingEngine.open(tmp_path) as engine:
            [event] = engine.cancel(number, 1).result(30.0)
            assert event.sequence == 300 + number
    state = replay(tmp_path)
    assert (state.matcher.sequence, state.warnings) == (302, [])
    assert verify_against_log(DirectoryStorage(tmp_path), log_in(tmp_path))[1] is None


def test_only_format_2_knows_that_its_last_segments_are_missing(tmp_path: Path) -> None:
    for golden in FORMATS:
        directory = tmp_path / golden.name
        directory.mkdir()
        for path in golden.glob("events.wal.*"):
            shutil.copy(path, directory)
        max(directory.iterdir()).unlink()
        if golden.name == "format_1":
            assert recover(directory).matcher.sequence < 300
        else:
            with pytest.raises(LogDamaged, match="goes on there"):
                recover(directory)


def test_every_format_and_every_version_of_snapshots_has_its_golden_files() -> None:
    assert set(GOLDEN.glob("format_*")) == set(FORMATS)
    found = {
        (snapshot.HEADER.unpack_from(path.read_bytes())[1], path.parent.name)
        for path in GOLDEN.glob("*/snapshot.*")
    }
    assert {version for version, _ in found} == set(snapshot.DECODERS)
    for path in GOLDEN.glob("*/snapshot.*"):
        snapshots = Snapshots(DirectoryStorage(path.parent))
        matcher = snapshot.restore(snapshots.read(path.name))
        assert (
            matcher.state() == replay(path.parent).matcher.state()
            or matcher.sequence == SNAPSHOT_AT
        )


def test_what_was_attached_to_a_snapshot_is_given_back(tmp_path: Path) -> None:
    snapshots = Snapshots(DirectoryStorage(tmp_path))
    [(_, old)] = Snapshots(DirectoryStorage(GOLDEN / "snapshot_3")).readable()
    assert old.attached == b"", "there was no room for it before version 4"
    name = snapshots.write(msgspec.structs.replace(old, attached=b"of the caller"))
    assert snapshots.read(name) == msgspec.structs.replace(old, attached=b"of the caller")


# -- A change of the bytes needs a new version --------------------------------------------------


A_CHANGE = """The bytes have changed: give them a new version, keep a decoder for the old one, and
let `python -m v2_event_driven_engine.tests.golden_files` write the golden files of the new one."""


def test_the_schema_of_the_log_is_that_of_its_version() -> None:
    golden = (OF_THE_LOG / SCHEMA).read_text(encoding="utf-8")
    assert golden_files.description_of_the_log() == golden, A_CHANGE


def test_the_schema_of_a_snapshot_is_that_of_its_version() -> None:
    golden = (OF_SNAPSHOTS / SCHEMA).read_text(encoding="utf-8")
    assert golden_files.description_of_snapshots() == golden, A_CHANGE


def test_the_golden_files_of_this_version_are_written_again_byte_for_byte(tmp_path: Path) -> None:
    golden_files.write(tmp_path / "again")
    written = {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}
    paths = [path for path in OF_THE_LOG.iterdir() if not path.match("snapshot.*")]
    paths += OF_SNAPSHOTS.glob("snapshot.*")
    golden = {path.name: path.read_bytes() for path in paths if path.name != SCHEMA}
    assert sorted(written) == sorted(golden)
    assert [name for name in golden if written[name] != golden[name]] == [], A_CHANGE


def test_golden_files_are_written_for_a_new_version_and_never_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    new = {"OF_THE_LOG": tmp_path / "format_9", "OF_SNAPSHOTS": tmp_path / "snapshot_9"}
    for name, directory in new.items():
        monkeypatch.setattr(golden_files, name, directory)
    golden_files.main()
    assert replay(new["OF_THE_LOG"]).matcher.state_hash() == GOLDEN_HASH
    assert (new["OF_SNAPSHOTS"] / SCHEMA).read_bytes() == (OF_SNAPSHOTS / SCHEMA).read_bytes()
    (new["OF_THE_LOG"] / SCHEMA).write_bytes(b"precious")
    golden_files.main()
    assert (new["OF_THE_LOG"] / SCHEMA).read_bytes() == b"precious"
    assert capsys.readouterr().out.count("stays as it is") == 2


class Waiting(msgspec.Struct):
    batch: Sequence[Sequence[AnyEvent] | None]
    command: Command
    price: int | None
    sizes: dict[str, tuple[str, str]]


def test_a_schema_names_every_type_in_full() -> None:
    """What is in a list, too: so a change in there is a change of the schema."""
    assert golden_files.described(Waiting) == (
        "Waiting: batch Sequence[Sequence[AnyEvent] | None], command Command, price int | None, "
        "sizes dict[str, tuple[str, str]]"
    )
    for schema in (golden_files.description_of_the_log(), golden_files.description_of_snapshots()):
        for event in get_args(AnyEvent):
            assert golden_files.described(event) in schema


# -- A later version of the program, made from this one -----------------------------------------


def later_version(tmp_path: Path, file: str, *changes: tuple[str, str]) -> Path:
    """A copy of the package in which pieces of a source are others; the folder that it is in."""
    copy = tmp_path / "later" / "v2_event_driven_engine"
    ignored = shutil.ignore_patterns("tests", "data", "__pycache__")
    shutil.copytree(PACKAGE, copy, ignore=ignored)
    source = (copy / file).read_text(encoding="utf-8")
    for old, new in changes:
        assert source.count(old) == 1
        source = source.replace(old, new)
    (copy / file).write_text(source, encoding="utf-8")
    return copy


def main(package: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(package / "main.py"), *arguments],
        input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


LISTED = '{"command":"list_instrument","symbol":"A","tick_size":"1","lot_size":"1"}\n'


def test_a_field_added_to_an_event_with_a_default_keeps_old_logs_readable(tmp_path: Path) -> None:
    later = later_version(
        tmp_path,
        "engine/events.py",
        (
            "    self_trade_prevention: SelfTradePrevention\n",
            "    self_trade_prevention: SelfTradePrevention\n    venue: str | None = None\n",
        ),
    )
    old = tmp_path / "old"
    shutil.copytree(FORMATS[0], old)
    verified = main(later, "verify", "--json", "--data-dir", str(old))
    assert (verified.returncode, verified.stderr) == (0, "")
    assert f'"state_hash": "{GOLDEN_HASH}"' in verified.stdout


@proves("unknown")
def test_a_field_that_this_version_does_not_know_is_refused_and_not_dropped(
    tmp_path: Path,
) -> None:
    later = later_version(
        tmp_path,
        "models/commands.py",
        (
            "    symbol: str\n    tick_size: str\n    lot_size: str\n",
            '    symbol: str\n    tick_size: str\n    lot_size: str\n    venue: str = "X"\n',
        ),
    )
    data = str(tmp_path / "data")
    assert main(later, "stdio", "--data-dir", data, stdin=LISTED).returncode == 0
    assert main(later, "verify", "--data-dir", data).returncode == 0
    refused = main(PACKAGE, "verify", "--data-dir", data)
    assert refused.returncode == 3
    assert "the record is unknown" in refused.stderr
    assert "open it with the version that wrote it" in refused.stderr


@proves("unknown")
def test_a_newer_format_is_refused_by_its_name(tmp_path: Path) -> None:
    newer = FORMAT_VERSION + 1
    later = later_version(
        tmp_path,
        "engine/log/format.py",
        (f"\nFORMAT_VERSION = {FORMAT_VERSION}\n", f"\nFORMAT_VERSION = {newer}\n"),
    )
    data = str(tmp_path / "data")
    written = main(later, "stdio", "--no-audit", "--data-dir", data, stdin=LISTED)
    assert written.returncode == 0
    refused = main(PACKAGE, "verify", "--data-dir", data)
    assert refused.returncode == 3
    assert f"written with format {newer};" in refused.stderr


def test_a_new_version_of_snapshots_still_reads_the_older_ones(tmp_path: Path) -> None:
    present = snapshot.SNAPSHOT_VERSION
    later = later_version(
        tmp_path,
        "engine/log/snapshot.py",
        (f"\nSNAPSHOT_VERSION = {present}\n", f"\nSNAPSHOT_VERSION = {present + 1}\n"),
        (
            f"    {present}: msgspec.msgpack.Decoder(Snapshot).decode,\n",
            f"    {present}: msgspec.msgpack.Decoder(Snapshot).decode,\n"
            f"    {present + 1}: msgspec.msgpack.Decoder(Snapshot).decode,\n",
        ),
    )
    for number, old in enumerate(FORMATS):
        data = tmp_path / str(number)
        shutil.copytree(old, data)
        verified = main(later, "verify", "--data-dir", str(data))
        assert (verified.returncode, verified.stderr) == (0, "")
        assert main(later, "snapshot", "--data-dir", str(data)).returncode == 0
        passed_over = main(PACKAGE, "status", "--data-dir", str(data)).stdout
        assert f"written as version {present + 1};" in passed_over


NEWER_RULEBOOK = (
    f"\nRULEBOOK_VERSION = {RULEBOOK_VERSION}\n",
    f"\nRULEBOOK_VERSION = {RULEBOOK_VERSION + 1}\n",
)


def test_a_program_whose_rules_replay_the_older_ones_goes_on_with_an_old_log(
    tmp_path: Path,
) -> None:
    later = later_version(
        tmp_path,
        "engine/log/format.py",
        NEWER_RULEBOOK,
        ("frozenset({RULEBOOK_VERSION})", f"frozenset({{{RULEBOOK_VERSION}, RULEBOOK_VERSION}})"),
    )
    data = tmp_path / "data"
    shutil.copytree(OF_THE_LOG, data)
    assert main(later, "stdio", "--data-dir", str(data), stdin=LISTED).returncode == 0
    verified = main(later, "verify", "--json", "--data-dir", str(data))
    assert (verified.returncode, verified.stderr) == (0, "")
    assert f'"state_hash": "{GOLDEN_HASH}"' in verified.stdout
    refused = main(PACKAGE, "verify", "--data-dir", str(data))
    assert refused.returncode == 3
    assert f"open it with a program that replays rulebook {RULEBOOK_VERSION + 1}" in refused.stderr


def test_a_program_whose_rules_do_not_replay_the_older_ones_says_which_program_does(
    tmp_path: Path,
) -> None:
    later = later_version(tmp_path, "engine/log/format.py", NEWER_RULEBOOK)
    refused = main(later, "verify", "--data-dir", str(OF_THE_LOG))
    assert refused.returncode == 3
    assert f"this program replays rulebook {RULEBOOK_VERSION + 1}" in refused.stderr
    assert f"open it with a program that replays rulebook {RULEBOOK_VERSION}" in refused.stderr
