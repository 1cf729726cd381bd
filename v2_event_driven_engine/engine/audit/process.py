"""The engine's handle on the process that keeps the audit trail complete: see `follower.py`."""

import logging
import subprocess
import sys
import threading
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from ..log.forking import NO_FORK
from ..log.storage import DirectoryStorage
from .trail import WHOLE

FINISH_SECONDS = 60.0
"""How long a trail that lags may take to catch up when the engine is closed."""
RESTARTS = 5
"""How often the process is started again, if it ends by itself."""
RESTART_SECONDS = 0.2
"""Before it is started again for the first time; twice as long before the second, and so on."""

BOOT = """\
import importlib, sys
sys.path += sys.argv[4:]
sys.exit(importlib.import_module(sys.argv[3]).main(sys.argv[1], sys.argv[2]))
"""


_logger = logging.getLogger(__name__)


class AuditProcess:
    """Starts the process, starts it again if it ends by itself, and ends it.

    It runs isolated: what it imports is found where the interpreter's own packages are, or where
    this package and the ones that it needs were found; never in a working directory or by
    PYTHONPATH.
    """

    def __init__(self, storage: DirectoryStorage) -> None:
        self._storage = storage
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: threading.Thread | None = None
        self._finishing = threading.Event()
        self._starting = threading.Lock()
        """Held while a process is started, and while it is decided that none is started again."""
        self.is_behind = True
        """Whether the trail may lack events, now that the process has ended."""

    def start(self) -> None:
        """Start the process, and a thread that waits for its end."""
        self._start()
        self._watcher = threading.Thread(
            target=self._watch, name="matching-engine-audit-watcher", daemon=True
        )
        self._watcher.start()

    def _start(self) -> None:
        with NO_FORK:  # a child would keep the pipes open
            self._process = subprocess.Popen(
                self._command(),
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(self._storage.descriptor,),
                start_new_session=True,  # Ctrl-C in the terminal is for the engine to handle
            )

    def _command(self) -> list[str]:
        storage = self._storage
        follower = f"{__package__}.follower"
        arguments = [str(storage.descriptor), str(storage.path), follower, *_places()]
        isolated = ["-I", "-B"] if sys.dont_write_bytecode else ["-I"]
        return [sys.executable, *isolated, "-c", BOOT, *arguments]

    def _watch(self) -> None:
        """Wait for the process; while the engine runs, an end is a failure."""
        for attempt in range(1 + RESTARTS):
            process = self._process
            assert process is not None
            is_whole = _ended(process)
            self._finishing.wait(RESTART_SECONDS * 2**attempt)
            with self._starting:
                if self._finishing.is_set():
                    self.is_behind = not is_whole
                    return
                _logger.warning("the audit process ended with status %d", process.returncode)
                if attempt < RESTARTS:
                    _close(process)
                    self._start()
        _logger.error("the audit process is not started again; the next start completes the trail")

    def finish(self) -> None:
        """Let the trail catch up with the log, then end the process, at the latest by force."""
        if self._process is None or self._watcher is None:
            return
        with self._starting:
            self._finishing.set()
            process = self._process
        _close(process)
        self._watcher.join(FINISH_SECONDS)
        if process.poll() is None:
            _logger.error(
                "the audit process has not caught up within %.0f s; the next start completes the "
                "trail", FINISH_SECONDS,
            )  # fmt: skip
            process.kill()
            self._watcher.join()

    def forget(self) -> None:
        """In a forked process: keep nothing of it alive, and wait for nothing."""
        process, self._process = self._process, None
        if process is not None:
            process.returncode = 0  # it is the other process's child
            _close(process)
            if process.stdout is not None:
                process.stdout.close()


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Wait until a process has ended; whether it said that the trail is whole.

    Its status does not tell: it is lost where somebody ignores SIGCHLD.
    """
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.read()
    process.wait()
    return said == WHOLE


def _close(process: subprocess.Popen[bytes]) -> None:
    """Close the lifeline of a process, which may be gone."""
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()


def _places() -> list[str]:
    """The folders of this package and of those that it needs, for the end of the search path."""
    package = __package__.partition(".")[0]
    needed = (package, "msgspec", "crc32c", "sortedcontainers")
    files = [spec.origin for name in needed if (spec := find_spec(name)) is not None]
    return list(dict.fromkeys(str(Path(file).resolve().parents[1]) for file in files if file))
