"""Bring what the engine in the page needs into docs/assets/engine/, which git ignores.

    python -m website.fetch

Python for WebAssembly (Pyodide) comes with npm, the packages with pip, both by version and hash and
from wherever these tools are set up to look. They and the project's own source are one archive.
Python files are compiled here, once, and not in every page: that is half of the time to the first
trade. Where something is missing the pages show recorded sessions instead; `main` then says so and
returns 1.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
TARGET = PROJECT / "docs" / "assets" / "engine"
CACHE = HERE / ".cache"


class Pinned(NamedTuple):
    """One file by version and hash, and the command that brings it into the working directory."""

    file: str
    sha256: str
    command: tuple[str, ...]


def _npm(package: str, version: str) -> tuple[str, ...]:
    return ("npm", "pack", f"{package}@{version}", "--silent")


def _pip(requirement: str, *options: str) -> tuple[str, ...]:
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
    return (*pip, "--only-binary=:all:", *options, requirement)


PYODIDE = Pinned(
    "pyodide-314.0.7.tgz",
    "66b7949e5a0cba2250b586d7e368bf12fb482800748d182c4618254b685ffaa0",
    _npm("pyodide", "314.0.7"),
)
AXE = Pinned(
    "axe-core-4.14.1.tgz",
    "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745",
    _npm("axe-core", "4.14.1"),
)
"""What looks for barriers in the pages; for the tests only."""
PYODIDE_FILES = (
    "pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json",
)  # fmt: skip
WHEELS = (
    Pinned(
        "msgspec-0.22.0-cp314-cp314-pyemscripten_2026_0_wasm32.whl",
        "a66b1766311e42371e509c996c3933b161c7ae0eabdf361af5316dec197e1022",
        _pip(
            "msgspec==0.22.0", "--platform", "pyemscripten_2026_0_wasm32",
            "--python-version", "3.14", "--implementation", "cp", "--abi", "cp314",
        ),
    ),
    Pinned(
        "sortedcontainers-2.4.0-py2.py3-none-any.whl",
        "a163dcaede0f1c021485e957a39245190e74249897e2ae4b2aa38595db237ee0",
        _pip("sortedcontainers==2.4.0"),
    ),
)  # fmt: skip
SOURCE = ("v1_order_matching_engine", "v2_event_driven_engine", "shared_tests", "website")
"""The packages of the project that the page can import."""
NEEDED_TESTS = (
    "v2_event_driven_engine/tests/__init__.py", "v2_event_driven_engine/tests/simulated_disk.py",
)  # fmt: skip
PACKAGES = "packages.zip"
"""All that is not of Python itself."""


class NotFetched(Exception):
    """A file could not be brought, or is not the one that was expected."""


def fetched(pinned: Pinned, cache: Path) -> Path:
    """The file, from the cache or from its command.

    Raises:
        NotFetched: the command is missing or failed, or the file has another hash.
    """
    path = cache / pinned.file
    if not path.exists():
        tool = shutil.which(pinned.command[0])
        if tool is None:
            raise NotFetched(f"{pinned.command[0]} is not installed")
        # On one file system: then the file is there as a whole or not at all.
        with tempfile.TemporaryDirectory(dir=cache) as directory:
            done = subprocess.run(
                [tool, *pinned.command[1:]], cwd=directory, check=False, capture_output=True,
                text=True, timeout=300,
            )  # fmt: skip
            brought = Path(directory) / pinned.file
            if not brought.exists():
                last = (done.stderr.strip() or "no error was given").splitlines()[-1]
                raise NotFetched(f"{pinned.file}: {last}")
            brought.replace(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != pinned.sha256:
        path.unlink()
        raise NotFetched(f"{pinned.file}: its hash is {digest}, expected {pinned.sha256}")
    return path


def packages_zip(path: Path, wheels: tuple[Path, ...] = ()) -> None:
    """The project's source, crc32c's stand-in, and the wheels, as one zip: the same files, the same
    bytes.
    """
    files = {"crc32c.py": (HERE / "standin" / "crc32c.py").read_bytes()}
    for package in SOURCE:
        for file in sorted((PROJECT / package).rglob("*")):
            name = file.relative_to(PROJECT).as_posix()
            is_test = "/tests/" in name or "/test_" in name
            if file.suffix in {".py", ".txt"} and (name in NEEDED_TESTS or not is_test):
                files[name] = file.read_bytes()
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            files |= {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def precompile(target: Path) -> None:
    """Compile the archives in `target`.

    Raises:
        NotFetched: there is no node, or it failed.
    """
    node = shutil.which("node")
    if node is None:
        raise NotFetched("node is not installed")
    done = subprocess.run(
        [node, str(HERE / "compile.mjs"), str(target)], check=False, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    if done.returncode != 0:
        last = (done.stderr.strip() or "no error was given").splitlines()[-1]
        raise NotFetched(f"compiling failed: {last[:200]}")


def fetch(target: Path = TARGET, cache: Path = CACHE) -> None:
    """Fill `target`. It has a manifest only if everything is there.

    Raises:
        NotFetched: something is missing.
    """
    manifest = target / "manifest.json"
    manifest.unlink(missing_ok=True)
    target.mkdir(parents=True, exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fetched(PYODIDE, cache)) as archive:
        for name in PYODIDE_FILES:
            member = archive.extractfile(f"package/{name}")
            assert member is not None, "the pinned archive has these files"
            (target / name).write_bytes(member.read())
    packages_zip(target / PACKAGES, tuple(fetched(wheel, cache) for wheel in WHEELS))
    precompile(target)
    names = (*PYODIDE_FILES, PACKAGES)
    for file in target.iterdir():
        if file.name not in names:
            file.unlink()
    sizes = {name: (target / name).stat().st_size for name in names}
    manifest.write_text(json.dumps({"bytes": sizes}, indent=1))


def main() -> int:
    """Fetch, and say in one line what became of it."""
    try:
        fetch()
    except (NotFetched, OSError, subprocess.TimeoutExpired) as error:
        print(f"the engine in the page was left out: {error}; pages show recorded sessions")
        return 1
    total = sum(file.stat().st_size for file in TARGET.iterdir() if file.is_file())
    print(f"the engine in the page: {total:,} bytes in {TARGET.relative_to(PROJECT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
