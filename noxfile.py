"""Every check of the project, each in a virtual environment of its own.

nox                 the quick set: tests, lint, types, docs
nox -s tests        the tests, on every interpreter from PYTHONS that this machine has
nox -s tests-3.12 -- -k matcher
nox -s conformance  the shared tests, thoroughly
nox -s faults       V2's log hurt in every way, a hundred thousand times
nox -s bench        every benchmark, on this machine, beside other people's engines; -- quick
nox -s demo         both tours
nox -s tracebook    an outside judge over both versions
nox -s peers        other people's engines beside both versions
nox -l              the whole list

What a session installs is written in pyproject.toml, and nowhere else.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nox

PROJECT = nox.project.load_toml("pyproject.toml")
DEPENDENCIES = PROJECT["project"]["dependencies"]
# The running interpreter is one of them, so that a newer Python alone still runs the tests.
PYTHONS = sorted(
    {"3.11", "3.12", "3.13", f"{sys.version_info.major}.{sys.version_info.minor}"},
    key=lambda version: [int(part) for part in version.split(".")],
)

HERE = Path(__file__).resolve().parent
EXAMPLES = [HERE / "README.md", HERE / "v2_event_driven_engine" / "README.md"]

nox.options.sessions = ["tests", "lint", "types", "docs"]
nox.options.error_on_missing_interpreters = False


def python_for_peers() -> str:
    """A Python that the peers of the benchmarks run on, 3.12 or later, if one here works.

    One that is on the path may be a name only, so it is asked to do nothing. Otherwise the running
    one: fewer peers are measured then.
    """
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in [] if sys.version_info >= (3, 12) else ["3.12", "3.13"]:
        program = shutil.which(f"python{version}")
        if program is None:
            continue
        if subprocess.run([program, "-c", ""], check=False, capture_output=True).returncode == 0:
            return version
    return running


def install(session: nox.Session, *groups: str) -> None:
    """Install what the project needs to run, and the named dependency groups."""
    session.install(*DEPENDENCIES, *nox.project.dependency_groups(PROJECT, *groups))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests and the examples of the READMEs; what stands behind -- goes to pytest alone."""
    install(session, "tests")
    session.run("python", "-m", "pytest", *session.posargs)
    if not session.posargs:
        for example in EXAMPLES:
            with tempfile.TemporaryDirectory() as folder, session.chdir(folder):
                session.run("python", "-m", "doctest", str(example), env={"PYTHONPATH": str(HERE)})


@nox.session
def conformance(session: nox.Session) -> None:
    """The shared tests, thoroughly: ten times the random sessions, a longer exhaustion."""
    install(session, "tests")
    profile = {"HYPOTHESIS_PROFILE": "ci"}
    session.run("python", "-m", "pytest", "shared_tests", *session.posargs, env=profile)


@nox.session
def faults(session: nox.Session) -> None:
    """Break V2's log in every way, many times; `-- long` takes hours. See docs/fault_table.md."""
    install(session, "tests")
    thorough = {
        "CRASH_IMAGES": "10000000" if "long" in session.posargs else "100000",
        "KILLS": "2000" if "long" in session.posargs else "200",
        "SOAK_SECONDS": "3600" if "long" in session.posargs else "60",
        "REAL_CALLS": "all",
    }
    modules = ("test_power_failure", "test_real_calls", "test_soak", "test_faults", "test_log")
    paths = [f"v2_event_driven_engine/tests/{module}.py" for module in modules]
    session.run("python", "-m", "pytest", *paths, env=thorough)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format. `nox -s lint -- --fix` mends what can be mended."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    fix = "--fix" in session.posargs
    session.run("ruff", "check", ".", *(["--fix"] if fix else []))
    session.run("ruff", "format", ".", *([] if fix else ["--check"]))


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of every package, strictly."""
    install(session, "types")
    session.run("mypy", "--strict", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into site/. A broken link is an error."""
    session.install(*nox.project.dependency_groups(PROJECT, "docs"))
    session.run("mkdocs", "build", "--strict", *session.posargs)


@nox.session(python=python_for_peers())
def bench(session: nox.Session) -> None:
    """Measure everything, beside other people's engines; `-- quick`, `-- publish`, `-- --help`."""
    install(session)
    for requirement in nox.project.dependency_groups(PROJECT, "bench"):
        session.install(requirement, success_codes=[0, 1])  # the report names what is not there
    words = ["--publish" if word == "publish" else word for word in session.posargs]
    session.run("python", "-m", "benchmarks", *words)


@nox.session
def demo(session: nox.Session) -> None:
    """Give both tours."""
    install(session)
    session.run("python", "v1_order_matching_engine/main.py")
    session.run("python", "v2_event_driven_engine/main.py")


@nox.session
def tracebook(session: nox.Session) -> None:
    """Let an outside judge compare both versions with a reference of its own."""
    install(session, "tests", "tracebook")
    session.run("python", "-m", "pytest", "shared_tests/tracebook", *session.posargs)


@nox.session
def peers(session: nox.Session) -> None:
    """Compare both versions with other people's engines; PEER_COMMANDS says for how long."""
    install(session, "tests", "peers")
    session.run("python", "-m", "pytest", "shared_tests/peers", *session.posargs)


@nox.session
def mutation(session: nox.Session) -> None:
    """Change the rules in thousands of small ways; every change must make a test fail."""
    install(session, "tests", "mutation")
    session.run("python", "-m", "shared_tests.planted_bugs.mutation", *session.posargs)
