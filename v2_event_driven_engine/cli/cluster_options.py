"""What the subcommands of `cluster` have in common: where the servers are, and the extra.

Nothing that the extra brings is imported before it is asked for.
"""

import argparse
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..engine.log.storage import reason
from ..errors import DirectoryInUse, DirectoryUnusable, MalformedCommand
from .files import FileProblem
from .options import Function, Subcommands, default_data_dir
from .signals import StopSignals

if TYPE_CHECKING:
    from ..cluster.jetstream import Connection, Security

STATUS_SECONDS = 1.0
"""How long the nodes' answers are waited for, where nobody knows how many there are."""
STOP_SECONDS = 2.0
"""After a signal: how long the cluster is still waited for."""
EXTRA = "pip install 'order-matching-engine[cluster]'"


class StopSoon(StopSignals):
    """As `StopSignals`; but a cluster may not answer, and nobody is to wait for that.

    After `STOP_SECONDS`, and again after as many, whatever still waits is interrupted: `Stopped`.
    For the main thread, and for what may be left in the middle.
    """

    def __enter__(self) -> Self:
        super().__enter__()
        self._old_alarm = signal.signal(signal.SIGALRM, self._interrupt)
        return self

    def _receive(self, number: int, frame: FrameType | None) -> None:
        super()._receive(number, frame)
        signal.setitimer(signal.ITIMER_REAL, STOP_SECONDS, STOP_SECONDS)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.check()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._old_alarm)
        super().__exit__(kind, error, traceback)


def add_below(
    below: Subcommands, name: str, text: str, function: Function, more: str = ""
) -> argparse.ArgumentParser:
    """Register a subcommand of `cluster`; `more` is shown behind its options."""
    parser = below.add_parser(
        name, help=text, description=text, epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(function=function)
    return parser


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """`--data-dir`, of `cluster up`."""
    default = default_data_dir()
    parser.add_argument(
        "--data-dir", type=Path, default=default.with_name(default.name + "-cluster"),
        metavar="DIR", help="where `cluster up` keeps everything (default: %(default)s)",
    )  # fmt: skip


def add_connection(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """`--url`, and how the connection is protected."""
    group = parser.add_argument_group("the servers")
    group.add_argument(
        "--url", type=_url, action="append", required=required, metavar="URL",
        help="nats://HOST:PORT of a server; once for each of them"
        + ("" if required else " (default: those of `cluster up` in --data-dir)"),
    )  # fmt: skip
    for name, what in (
        ("--ca", "who signed their certificates"),
        ("--cert", "our certificate"),
        ("--key", "its key"),
        ("--creds", "a file of credentials"),
    ):
        group.add_argument(name, type=file_to_read, default="", metavar="FILE", help=what)
    group.add_argument("--user", default="", metavar="NAME", help="or a user, and")
    group.add_argument("--password-file", type=Path, metavar="FILE", help="a file with a password")


def _url(text: str) -> str:
    from ..cluster.servers import check_urls, without_password  # noqa: PLC0415

    try:
        check_urls([text])
    except MalformedCommand:
        shown = without_password(text)
        raise argparse.ArgumentTypeError(f"{shown!a} is not nats://HOST:PORT") from None
    return text


def file_to_read(text: str) -> str:
    """A file that can be read, as an argument; or nothing."""
    if not text:  # the default
        return text
    try:
        with Path(text).open("rb"):
            return text
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text}: {reason(error)}") from None


def security_of(options: argparse.Namespace) -> "Security":
    """How the connection is protected, by the options.

    Raises:
        FileProblem: the file with the password cannot be read.
    """
    from ..cluster.jetstream import Security  # noqa: PLC0415

    return Security(
        ca=options.ca, certificate=options.cert, key=options.key, credentials=options.creds,
        user=options.user, password=password_of(options),
    )  # fmt: skip


def password_of(options: argparse.Namespace) -> str:
    """The password in the file that is named; empty if none is. Raises as `security_of`."""
    if options.password_file is None:
        return ""
    try:
        text: str = options.password_file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise FileProblem(f"{options.password_file}: {reason(error)}") from None
    return text.strip()


def partition_number(text: str) -> int:
    """The number of a partition, as an argument."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 6):
        raise argparse.ArgumentTypeError(f"{text!a} is not 0, 1, 2 …")
    return int(text)


def check_partition(partition: int, partitions: int) -> None:
    """See that a cluster of so many partitions has this one.

    Raises:
        FileProblem: it has not.
    """
    if partition >= partitions:
        raise FileProblem(
            f"--partition {partition}: expected one of 0 to {partitions - 1}: the cluster has "
            f"{partitions}"
        )


@contextmanager
def named_by(option: str) -> Iterator[None]:
    """Turn what is said about a data directory into what names it here.

    Raises:
        DirectoryInUse, DirectoryUnusable: with this option in the message.
    """
    try:
        yield
    except (DirectoryInUse, DirectoryUnusable) as error:
        raise type(error)(str(error).replace("--data-dir", option)) from None


@contextmanager
def extra() -> Iterator[None]:
    """Turn what is missing without the extra into what to install.

    Raises:
        FileProblem: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "nats":
            raise
        raise FileProblem(f"`cluster` needs more than the engine: {EXTRA}") from None


def described(options: argparse.Namespace) -> dict[str, Any]:
    """What `cluster up` in the data directory has written down.

    Raises:
        FileProblem: it does not run there.
    """
    path = options.data_dir / "cluster.json"
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        _check_described(content)
    except OSError:
        raise FileProblem(
            f"{path}: no cluster runs there: start one by `{options.run_by} cluster up`, or name "
            "its servers by --url"
        ) from None
    except ValueError as error:
        raise FileProblem(
            f"{path}: {error}; start `cluster up` again, it writes the file"
        ) from None
    return content


def _check_described(content: Any) -> None:
    """See that `cluster up` has written it.

    Raises:
        ValueError: it has not.
    """
    from ..cluster.servers import check_urls  # noqa: PLC0415

    try:
        check_urls(content["urls"])
        complete = type(content["partitions"]) is int and all(
            type(each["pid"]) is int for each in (*content["servers"], *content["nodes"])
        )
    except (KeyError, TypeError):
        complete = False
    if not complete:
        raise ValueError("this is not what `cluster up` has written")


def connection_of(options: argparse.Namespace) -> "Connection":
    """A connection to the servers that the options name.

    Raises:
        FileProblem: nothing says where they are, or the extra is missing.
        StoreError, OSError: they cannot be reached.
    """
    with extra():
        from ..cluster.jetstream import Connection  # noqa: PLC0415
    return Connection(urls_of(options), name="command line", security=security_of(options))


def urls_of(options: argparse.Namespace) -> list[str]:
    """Where the servers are.

    Raises:
        FileProblem: nothing says so.
    """
    urls: list[str] = options.url or described(options)["urls"]
    return urls
