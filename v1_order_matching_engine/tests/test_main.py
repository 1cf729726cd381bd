"""main.py as others see it: a process with streams, signals and an exit status."""

import gzip
import json
import lzma
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..utils.files import LONGEST_LINE_BYTES

FOLDER = Path(__file__).resolve().parents[1]
TIMEOUT_SECONDS = 60

# Without what would change how output is buffered, coloured or wrapped.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PYTHON", "FORCE_COLOR", "COLUMNS"))
}

FLOW = b"""\
{"command":"list_instrument","symbol":"ACME","tick_size":"0.01","lot_size":"1"}
{"command":"new","order_id":1,"participant":7,"symbol":"ACME","side":"SELL","type":"LIMIT",\
"price":100,"quantity":5}

{"command":"new","order_id":2,"participant":8,"symbol":"ACME","side":"BUY","type":"LIMIT",\
"price":100,"quantity":3}\r
{"query":"order","order_id":1}
{"command":"cancel","order_id":2}
{"query":"state"}
{"command":"cancel","order_id":2,"participant":8}"""
# It has a blank line, a carriage return, a malformed line, and a last line without a line end.

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "plain": bytes,
}


def command(*arguments: str | Path, main: Path = FOLDER / "main.py") -> list[str]:
    # -X dev: unclosed files and other sloppiness show up on standard error.
    return [sys.executable, "-X", "dev", str(main), *map(str, arguments)]


def run(
    *arguments: str | Path, stdin: bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(*arguments),
        input=stdin,
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        env=ENVIRONMENT,
        cwd=cwd,
        check=False,
    )


@contextmanager
def started(*arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command(*arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=ENVIRONMENT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(TIMEOUT_SECONDS)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def send(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(data)


def read_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def read_errors(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stderr is not None
    return process.stderr.read()


def without_time(output: bytes) -> bytes:
    return re.sub(rb'"timestamp_ns":\d+', b'"timestamp_ns":0', output)


def summary(output: bytes) -> dict[str, object]:
    fields: dict[str, object] = json.loads(output.splitlines()[-1])
    return fields


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    path = tmp_path / "flow.ndjson"
    path.write_bytes(FLOW)
    return path


# --- what it does --------------------------------------------------------------------------------


def test_help_teaches_the_interface_and_the_exit_status() -> None:
    done = run("--help")
    assert done.returncode == 0
    for word in (b"run", b"stdio", b"mass_cancel", b"post_only", b"exit status", b"143"):
        assert word in done.stdout
    assert b"mass_cancel" in run("run", "--help").stdout


def test_the_tour_proves_the_replay_and_is_readable_in_a_pipe() -> None:
    done = run()
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b": the same") == 2
    assert b"DIFFERENT" not in done.stdout
    assert b"\x1b" not in done.stdout
    assert max(map(len, done.stdout.decode().splitlines())) <= 80


def test_stdio_answers_every_line_in_order() -> None:
    done = run("stdio", stdin=FLOW)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["event"] for answer in answers] == [
        "instrument_listed",
        "order_accepted",
        "order_accepted",
        "trade_executed",
        "order",
        "malformed",
        "state",
        "cancel_rejected",
    ]
    order, malformed, state = answers[4:7]
    assert order == {
        "event": "order",
        "order_id": 1,
        "sequence": 3,
        "status": "PARTIALLY_FILLED",
        "remaining": 2,
    }
    assert malformed["line"] == 6
    assert malformed["error"].startswith("participant: ")
    assert (state["sequence"], state["resting_orders"]) == (3, 1)
    assert done.returncode == 1
    assert done.stderr == b""


def test_a_run_sums_up_what_it_did_in_one_json_object_on_the_last_line(flow: Path) -> None:
    done = run("run", flow, "--json")
    fields = summary(done.stdout)
    assert list(fields) == [
        "commands",
        "events",
        "trades",
        "resting_orders",
        "state_hash",
        "seconds",
        "commands_per_second",
        "malformed",
    ]
    counts = ("commands", "events", "trades", "resting_orders", "malformed")
    assert [fields[name] for name in counts] == [4, 5, 1, 1, 1]
    state = json.loads(run("stdio", stdin=FLOW).stdout.splitlines()[6])
    assert fields["state_hash"] == state["state_hash"]
    assert done.returncode == 1
    assert done.stderr == b""


def test_a_run_without_malformed_lines_exits_with_0(flow: Path) -> None:
    flow.write_bytes(FLOW.replace(b'{"command":"cancel","order_id":2}\n', b""))
    done = run("run", flow)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"commands         4" in done.stdout
    assert b"\x1b" not in done.stdout


def test_an_empty_flow_is_a_good_flow() -> None:
    done = run("run", "-", "--json")
    assert done.returncode == 0
    assert summary(done.stdout)["commands"] == 0
    assert run("stdio").returncode == 0


@pytest.mark.parametrize(
    ("extension", "form"),
    [("ndjson", "plain"), ("ndjson.gz", "gz"), ("ndjson.xz", "xz"), ("GZ", "gz")],
)
def test_a_flow_is_decompressed_by_its_extension(tmp_path: Path, extension: str, form: str) -> None:
    path = tmp_path / f"flow.{extension}"
    path.write_bytes(COMPRESS[form](FLOW))
    plain = summary(run("run", "-", "--json", stdin=FLOW).stdout)
    packed = summary(run("run", path, "--json").stdout)
    assert packed["state_hash"] == plain["state_hash"]
    assert packed["commands"] == plain["commands"] == 4


@pytest.mark.parametrize("name", ["OUT", "-"])
def test_events_are_exactly_what_stdio_prints(flow: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "events.ndjson"
    done = run("run", flow, "--events", out if name == "OUT" else name)
    events = out.read_bytes() if name == "OUT" else done.stdout
    assert without_time(events) == without_time(run("stdio", stdin=FLOW).stdout)
    for_people = done.stdout if name == "OUT" else done.stderr
    assert b"state hash" in for_people


def test_json_is_the_last_line_also_after_events_on_standard_output(flow: Path) -> None:
    lines = run("run", flow, "--events", "-", "--json").stdout.splitlines()
    assert len(lines) == 8 + 1
    assert summary(lines[-1])["commands"] == 4


def test_a_line_over_several_chunks_is_read_in_one_piece_unless_it_is_too_long() -> None:
    first, second, *others = FLOW.splitlines(keepends=True)
    longest = second.replace(b":", b":" + b" " * (LONGEST_LINE_BYTES + 1 - len(second)), 1)
    done = run("stdio", stdin=first + longest + b"".join(others))
    assert without_time(done.stdout) == without_time(run("stdio", stdin=FLOW).stdout)

    too_long = run("stdio", stdin=longest.replace(b":", b": ", 1) + first)
    malformed, listed = map(json.loads, too_long.stdout.splitlines())
    error = "line: longer than 65,536 bytes"
    assert malformed == {"event": "malformed", "line": 1, "error": error}
    assert listed["event"] == "instrument_listed"


def test_stdio_answers_what_was_read_before_it_reads_more() -> None:
    with started("stdio") as process:
        send(process, b'{"query":"order","order_id":1}\n')
        assert json.loads(read_line(process))["status"] == "UNKNOWN"
        send(process, b'{"query":"state"}\n{"query":"st')
        assert json.loads(read_line(process))["sequence"] == 0
        send(process, b'ate"}\nnonsense\n')
        assert json.loads(read_line(process))["event"] == "state"
        assert json.loads(read_line(process))["line"] == 4
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(TIMEOUT_SECONDS) == 1


# --- what goes wrong -----------------------------------------------------------------------------


def test_a_flow_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = run("run", tmp_path / "absent.ndjson", "--events", tmp_path / "out")
    assert done.returncode == 2
    assert re.fullmatch(rb"main.py: cannot open .*absent.ndjson: No such file.*\n", done.stderr)
    assert not (tmp_path / "out").exists()


def test_a_flow_that_is_a_folder_is_named(tmp_path: Path) -> None:
    done = run("run", tmp_path)
    assert done.returncode == 2
    assert str(tmp_path).encode() in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["run"], ["walk"], ["run", "x", "--fast"], ["stdio", "x"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert b"usage: main.py" in done.stderr
    assert b"Traceback" not in done.stderr


def test_an_output_that_cannot_be_opened_is_named(flow: Path, tmp_path: Path) -> None:
    done = run("run", flow, "--events", tmp_path / "absent" / "out")
    assert done.returncode == 2
    assert b"absent/out" in done.stderr


def test_a_flow_is_never_overwritten_by_its_own_events(flow: Path) -> None:
    done = run("run", flow, "--events", flow)
    assert done.returncode == 2
    assert b"the flow itself" in done.stderr
    assert flow.read_bytes() == FLOW


@pytest.mark.parametrize(
    ("extension", "damage"),
    [  # an empty .gz is not among them: no members at all is a valid gzip file
        ("gz", "truncated"),
        ("gz", "corrupt"),
        ("xz", "truncated"),
        ("xz", "corrupt"),
        ("xz", "empty"),
    ],
)
def test_a_damaged_archive_is_named(tmp_path: Path, extension: str, damage: str) -> None:
    packed = COMPRESS[extension](FLOW * 50)
    middle = len(packed) // 2
    path = tmp_path / f"flow.{extension}"
    path.write_bytes(
        {
            "truncated": packed[:middle],
            "corrupt": packed[:middle] + bytes(byte ^ 255 for byte in packed[middle:]),
            "empty": b"",
        }[damage]
    )
    done = run("run", path, "--json")
    assert done.returncode == 2
    assert done.stdout == b""
    assert re.fullmatch(rb"main.py: cannot read .*flow\.\w\w: .+\n", done.stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [["stdio"], ["run", "-"], []])
def test_a_full_disk_is_reported(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command(*arguments),
            input=FLOW,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_SECONDS,
            env=ENVIRONMENT,
            check=False,
        )
    assert done.returncode == 2
    assert re.fullmatch(rb"main.py: cannot write standard output: No space.*\n", done.stderr)


# --- being stopped -------------------------------------------------------------------------------


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_signal_ends_stdio_quietly(number: signal.Signals, status: int) -> None:
    with started("stdio") as process:
        send(process, b'{"query":"state"}\n')
        read_line(process)
        process.send_signal(number)
        assert process.wait(TIMEOUT_SECONDS) == status
        assert read_errors(process) == b""


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_signal_ends_a_run_with_the_summary_of_what_was_done(
    number: signal.Signals, status: int
) -> None:
    with started("run", "-", "--events", "-", "--json") as process:
        send(process, FLOW.splitlines(keepends=True)[0])
        assert json.loads(read_line(process))["event"] == "instrument_listed"
        process.send_signal(number)
        assert summary(read_line(process))["commands"] == 1
        assert process.wait(TIMEOUT_SECONDS) == status
        assert read_errors(process) == b""


def test_ctrl_c_ends_the_tour_quietly() -> None:
    with started() as process:
        while b"4 threads" not in read_line(process):
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_SECONDS) == 130
        assert read_errors(process) == b""


@pytest.mark.parametrize(
    "arguments", [["stdio"], ["run", "-", "--events", "-"], ["run", "-"], ["--help"], []]
)
def test_a_closed_pipe_ends_everything_quietly(arguments: list[str]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            command(*arguments),
            input=FLOW.replace(b'{"command":"cancel","order_id":2}\n', b""),
            stdout=write_end,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_SECONDS,
            env=ENVIRONMENT,
            check=False,
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("closing", ["<&-", ">&-"])
def test_standard_streams_that_are_not_there_are_named(closing: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closing}', "sh", *command("stdio")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"main.py: cannot open standard ")


# --- where the folder is -------------------------------------------------------------------------


def copied(to: Path) -> Path:
    skipped = shutil.ignore_patterns("tests", "__pycache__")
    return Path(shutil.copytree(FOLDER, to, ignore=skipped)) / "main.py"


@pytest.mark.parametrize("name", ["engine_copy", "my engine-2"])
def test_a_copied_and_renamed_folder_works_from_anywhere(tmp_path: Path, name: str) -> None:
    main = copied(tmp_path / name)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for arguments, cwd in (
        ([sys.executable, "main.py"], main.parent),
        ([sys.executable, str(main)], elsewhere),
        ([sys.executable, "-m", f"{name}.main"], tmp_path),
    ):
        done = subprocess.run(
            [*arguments, "run", "-", "--json"],
            input=FLOW,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            env=ENVIRONMENT,
            cwd=cwd,
            check=False,
        )
        assert (done.returncode, done.stderr) == (1, b"")
        assert summary(done.stdout)["commands"] == 4


def test_a_folder_that_cannot_be_imported_says_so_in_one_line(tmp_path: Path) -> None:
    main = copied(tmp_path / "engine-1.0")
    done = subprocess.run(
        [sys.executable, str(main)],
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.returncode != 0
    assert re.fullmatch(rb".*engine-1\.0: .*rename.*\n", done.stderr)
