"""Servers of NATS: their configuration, and three of them as child processes, for trying.

On real machines the same configuration is used, and something else starts them.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from ..errors import MalformedCommand, StoreError

HEALTHY_SECONDS = 30.0
END_SECONDS = 10.0
LOOPBACK = "127.0.0.1"
SERVER_PROGRAM = "nats-server"

CONFIGURATION = """\
server_name: "{name}"
listen: "{host}:{client_port}"
{monitor}max_payload: 8MB      # an entry of the log is one message
max_pending: 128MB
jetstream {{
  store_dir: {store_dir}
  sync_interval: always  # otherwise an acknowledged entry is on disk up to two minutes later
  max_memory_store: 256MB
  max_file_store: {max_file_store}
}}
cluster {{
  name: {cluster}
  listen: "{host}:{route_port}"
  routes: [{routes}]
{route_tls}}}
{more}"""

TLS = """\
tls {{
  cert_file: {certificate}
  key_file: {key}
  ca_file: {ca}
  verify: true
}}
"""


class Machine(NamedTuple):
    """One server: where it listens, and where it keeps the streams."""

    name: str
    host: str
    client_port: int
    route_port: int
    monitor_port: int
    """For /healthz, on loopback; 0: none."""
    store_dir: str

    @property
    def url(self) -> str:
        """What its clients connect to."""
        return f"nats://{self.host_in_url}:{self.client_port}"

    @property
    def host_in_url(self) -> str:
        """The host as it stands before a port: an address of IPv6 in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host


def check_urls(urls: Sequence[str]) -> None:
    """See that these are addresses of servers, one or more.

    Raises:
        MalformedCommand: they are not.
    """
    if isinstance(urls, str) or not urls:
        raise MalformedCommand("urls", "expected a list of nats://HOST:PORT, one or more")
    for url in urls:
        if not (type(url) is str and _is_url(url)):
            shown = without_password(url) if type(url) is str else type(url).__name__
            raise MalformedCommand("urls", f"{shown!a} is not nats://HOST:PORT")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError:
        return False
    plain = re.fullmatch(r"(nats|tls)://[!-+\--~]+", text) is not None
    rest = parts.path not in ("", "/") or parts.query or parts.fragment
    return plain and bool(host) and port != 0 and not rest


def without_password(url: str) -> str:
    """An address as a message may show it: without a user, a password or a token."""
    return re.sub(r"://.*@", "://***@", url)


class Certificates(NamedTuple):
    """Files of one server's certificate, its key, and of the authority that signed them all."""

    ca: str
    certificate: str
    key: str


def configuration(
    machine: Machine,
    machines: Sequence[Machine],
    *,
    cluster: str = "order-matching",
    certificates: Certificates | None = None,
    user: str = "",
    password: str = "",
    max_file_store: str = "100GB",
) -> str:
    """The configuration file of one server of several."""
    tls = "" if certificates is None else TLS.format(**_quoted(certificates._asdict()))
    account = "" if not user else _account(user, password)
    return CONFIGURATION.format(
        name=machine.name,
        host=machine.host_in_url,
        client_port=machine.client_port,
        route_port=machine.route_port,
        monitor=f'http: "{LOOPBACK}:{machine.monitor_port}"\n' if machine.monitor_port else "",
        store_dir=_quote(machine.store_dir),
        max_file_store=max_file_store,
        cluster=cluster,
        routes=", ".join(
            _quote(f"nats://{each.host_in_url}:{each.route_port}") for each in machines
        ),
        route_tls="".join(f"  {line}\n" for line in tls.splitlines()),
        more=tls + account,
    )


def _account(user: str, password: str) -> str:
    return (
        "accounts {\n"
        f"  ENGINE {{ jetstream: enabled, users: [ {{ user: {_quote(user)}, "
        f"password: {_quote(password)} }} ] }}\n"
        "  SYS { users: [] }\n"
        "}\n"
        "system_account: SYS\n"
    )


def _quote(text: str) -> str:
    if '"' in text or "\\" in text or not text.isprintable():
        raise StoreError(f"{text!a}: this cannot be in a server's configuration")
    return f'"{text}"'


def _quoted(texts: dict[str, str]) -> dict[str, str]:
    return {name: _quote(text) for name, text in texts.items()}


# -- Child processes ----------------------------------------------------------------------------

TIED = """\
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)
    if os.getppid() != int(sys.argv[1]):
        sys.exit()
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes another program, which the kernel kills (on Linux) when the thread that started it ends:
whatever happens to a supervisor, its children do not stay."""


def start_tied(
    command: Sequence[str], output: Path, stdout: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a program that does not outlive this one. Its output is added to a file.

    It is a session of its own: a terminal's Ctrl-C reaches only the one who started it.
    """
    tied = [sys.executable, "-I", "-S", "-c", TIED, str(os.getpid()), *command]
    with output.open("ab") as log:
        return subprocess.Popen(
            tied, stdin=subprocess.DEVNULL, stdout=log if stdout is None else stdout, stderr=log,
            start_new_session=True,
        )  # fmt: skip


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End processes, also stopped ones, and wait until they have ended. Quiet about dead ones."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
    give_up = time.monotonic() + END_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, give_up - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def find_server() -> str | None:
    """The path of the server: beside this Python, or else on the path; None if there is none."""
    beside = Path(sys.executable).with_name(SERVER_PROGRAM)
    return str(beside) if beside.exists() else shutil.which(SERVER_PROGRAM)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on just now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]


class Servers:
    """Some servers on loopback, as child processes. Each is ended by its process id."""

    def __init__(
        self,
        directory: Path,
        count: int = 3,
        *,
        certificates: Certificates | None = None,
        user: str = "",
        password: str = "",
    ) -> None:
        """Write their configuration into a directory, which also keeps their streams."""
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        program = find_server()
        if program is None:
            raise StoreError(f"{SERVER_PROGRAM} is not installed")
        self._program = program
        ports = iter(free_ports(3 * count))
        self.machines = [
            Machine(f"s{n}", LOOPBACK, next(ports), next(ports), next(ports),
                    str(directory.resolve() / f"s{n}"))
            for n in range(count)
        ]  # fmt: skip
        for machine in self.machines:
            text = configuration(
                machine, self.machines, certificates=certificates, user=user, password=password
            )
            if count == 1:
                text = text[: text.index("cluster {")]
            self._file(machine).write_text(text, encoding="utf-8")
        self.processes: list[subprocess.Popen[bytes] | None] = [None] * count

    def _file(self, machine: Machine) -> Path:
        return self.directory / f"{machine.name}.conf"

    @property
    def urls(self) -> list[str]:
        """Where clients connect to."""
        return [machine.url for machine in self.machines]

    def start(self, number: int) -> None:
        """Start one of them, which does not run."""
        machine = self.machines[number]
        command = [self._program, "-c", str(self._file(machine))]
        self.processes[number] = start_tied(command, self.directory / f"{machine.name}.log")

    def start_all(self) -> None:
        """Start those that do not run, and wait until all are healthy.

        Raises:
            StoreError: one of them is not healthy for `HEALTHY_SECONDS`.
        """
        for number in range(len(self.machines)):
            if not self.runs(number):
                self.start(number)
        self.wait()

    def runs(self, number: int) -> bool:
        """Whether one has been started and has not ended."""
        process = self.processes[number]
        return process is not None and process.poll() is None

    def signal(self, number: int, what: signal.Signals) -> None:
        """Send one a signal; after SIGKILL wait until it has ended."""
        process = self.processes[number]
        assert process is not None
        process.send_signal(what)
        if what == signal.SIGKILL:
            process.wait()

    def healthy(self, number: int) -> bool:
        """Whether one says that it is ready."""
        url = f"http://{LOOPBACK}:{self.machines[number].monitor_port}/healthz"
        with suppress(OSError), urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
        return False

    def wait(self) -> None:
        """Wait until those that run are healthy.

        Raises:
            StoreError: one has ended, or is not healthy for `HEALTHY_SECONDS`.
        """
        give_up = time.monotonic() + HEALTHY_SECONDS
        for number, machine in enumerate(self.machines):
            while self.processes[number] is not None and not self.healthy(number):
                if not self.runs(number) or time.monotonic() > give_up:
                    log = self.directory / f"{machine.name}.log"
                    raise StoreError(f"server {machine.name} does not get healthy: see {log}")
                time.sleep(0.02)

    def stop_all(self) -> None:
        """End all of them."""
        end([process for process in self.processes if process is not None])
