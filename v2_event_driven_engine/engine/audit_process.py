"""The engine's end of the process that keeps the audit log complete: see ``audit_follower.py``."""

import os
import subprocess
import sys
from pathlib import Path


class AuditProcess:
    """Starts the process, and ends it."""

    def __init__(self, data_dir: Path) -> None:
        package = Path(__file__).resolve().parents[1]
        module = f"{__package__}.audit_follower"
        path = [str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(data_dir.resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            start_new_session=True,  # Ctrl-C in the terminal is for the engine to handle
        )

    def finish(self) -> int:
        """Let the trail catch up with the log, then end the process; its exit status."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait()
