"""Every check of the project, each in a virtual environment of its own.

nox                 the quick set: tests, lint, types, docs
nox -s tests        the tests, on every interpreter from PYTHONS that this machine has
nox -s tests-3.12 -- -k matcher
nox -s conformance  the shared tests, thoroughly
nox -s cluster      V2 on several machines: real servers and nodes, killed and frozen
nox -s faults       V2's log damaged in many ways, a hundred thousand times
nox -s models       every state of the models in docs/models, by Spin
nox -s bench        every benchmark, also of engines by other authors; `-- quick` is shorter
nox -s package      the wheel, installed into empty environments and used
nox -s demo         the tours of both versions
nox -s tracebook    both versions compared with an outside judge
nox -s peers        both versions compared with engines by other authors
nox -s mutation     thousands of small changes to the rules; a test must fail at each
nox -l              the whole list

What a session installs is written in pyproject.toml, and nowhere else.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nox

PROJECT = nox.project.load_toml("pyproject.toml")
DEPENDENCIES = PROJECT["project"]["dependencies"]
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
# The running interpreter is one of them, so that a newer Python alone still runs the tests.
PYTHONS = sorted(
    {"3.11", "3.12", "3.13", RUNNING},
    key=lambda version: [int(part) for part in version.split(".")],
)

# One process of tests for each processor; one that has nothing left to do takes over from others.
PARALLEL = ["-n", "auto", "--maxprocesses", "8", "--dist", "worksteal"]

HERE = Path(__file__).resolve().parent
EXAMPLES = [
    HERE / "README.md",
    HERE / "v1_order_matching_engine" / "README.md",
    HERE / "v2_event_driven_engine" / "README.md",
]

nox.options.sessions = ["tests", "lint", "types", "docs"]
nox.options.error_on_missing_interpreters = False


def python_for_peers() -> str:
    """A Python that all peers of the benchmarks run on, 3.12 or later, if this machine has one.

    Otherwise the running one; then fewer peers are measured. A program on the path may not work (a
    pyenv shim without its version), so each is tried first.
    """
    for version in [] if sys.version_info >= (3, 12) else ["3.12", "3.13"]:
        program = shutil.which(f"python{version}")
        if program is None:
            continue
        if subprocess.run([program, "-c", ""], check=False, capture_output=True).returncode == 0:
            return version
    return RUNNING


def install(session: nox.Session, *groups: str) -> None:
    """Install what the project needs to run, and the named dependency groups."""
    session.install(*DEPENDENCIES, *nox.project.dependency_groups(PROJECT, *groups))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests and the examples of the READMEs; what follows `--` goes to pytest only.

    Tests marked `once` run on one interpreter, which is there for certain: the running one.
    """
    install(session, "tests")
    selection = [] if session.python == RUNNING else ["-m", "not once"]
    session.run("python", "-m", "pytest", *PARALLEL, *selection, *session.posargs)
    if not session.posargs:
        for example in EXAMPLES:
            with tempfile.TemporaryDirectory() as folder, session.chdir(folder):
                session.run("python", "-m", "doctest", str(example), env={"PYTHONPATH": str(HERE)})


@nox.session
def conformance(session: nox.Session) -> None:
    """The shared tests, thoroughly: ten times the random sessions, a longer exhaustion."""
    install(session, "tests")
    profile = {"HYPOTHESIS_PROFILE": "ci"}
    session.run("python", "-m", "pytest", *PARALLEL, "shared_tests", *session.posargs, env=profile)


@nox.session
def faults(session: nox.Session) -> None:
    """Damage V2's log in many ways; `-- long` takes hours. See docs/fault_table.md."""
    install(session, "tests")
    thorough = {
        "CRASH_IMAGES": "10000000" if "long" in session.posargs else "100000",
        "KILLS": "2000" if "long" in session.posargs else "200",
        "BESIDE_ROUNDS": "10",
        "POWER_CUTS": "200" if "long" in session.posargs else "20",
        "SOAK_SECONDS": "3600" if "long" in session.posargs else "30",
        "REAL_CALLS": "all",
    }
    modules = (
        "test_power_failure",
        "test_power_cut",
        "test_real_calls",
        "test_soak",
        "test_beside",
    )
    paths = [f"v2_event_driven_engine/tests/{module}.py" for module in modules]
    session.run("python", "-m", "pytest", *PARALLEL, *paths, env=thorough)


@nox.session
def cluster(session: nox.Session) -> None:
    """V2 on a replicated log: long in simulated time, then with real servers on this machine."""
    install(session, "cluster")
    simulated = ("test_simulation", "test_planted_bugs")
    session.run(
        "python", "-m", "pytest", *PARALLEL,
        *(f"v2_event_driven_engine/tests/cluster/{module}.py" for module in simulated),
        env={"HISTORIES": "4000"},
    )  # fmt: skip
    engine = HERE / "v2_event_driven_engine"
    files = [*engine.glob("tests/cluster/test_*.py"), engine / "tests/test_log_contract.py"]
    files += [engine / "tests/test_cluster_commands.py", *engine.glob("cluster/*.py")]
    longest = ("test_real_disks", "test_local", "test_real_faults", "test_real_partitions")
    files.sort(key=lambda file: (file.stem not in longest, file))
    # Mostly they wait for elections, so two files run at a time; the longest ones first.
    session.run(
        "python", "-m", "pytest", "-rfEs",
        "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder",
        *(str(file.relative_to(HERE)) for file in files), *session.posargs, env={"CLUSTER": "1"},
    )  # fmt: skip


@nox.session
def models(session: nox.Session) -> None:
    """Check every state of the models; `-- --publish` also writes what their page shows."""
    programs = ("spin", "gcc")
    if not all(map(shutil.which, programs)):
        install_from_debian(session, *programs)
    if missing := [program for program in programs if shutil.which(program) is None]:
        session.skip(f"not installed, and apt-get cannot do it here: {', '.join(missing)}")
    install(session, "tests")
    if session.posargs:
        session.run("python", "-m", "shared_tests.models", *session.posargs)
    else:
        session.run("python", "-m", "pytest", "-q", "-rP", *PARALLEL, "shared_tests/models")


@nox.session
def package(session: nox.Session) -> None:
    """Build the wheel, install it into empty environments and use it from an empty folder."""
    install(session, "package")
    session.run("python", "-m", "pytest", "shared_tests/programs/test_installation.py")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format. `nox -s lint -- --fix` corrects what it can."""
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
    """Build the site into site/, with two builders, and look at it. A broken link is an error.

    The engine in the page needs npm, the browser's tests need Chromium; what is missing is said.
    """
    install(session, "docs")
    session.run("python", "-m", "website.fetch", success_codes=[0, 1])
    site = "site"
    if "--site-dir" in session.posargs:
        site = session.posargs[session.posargs.index("--site-dir") + 1]
    # Zensical reads the same mkdocs.yml, and has no option for the folder: what it writes into
    # site/ is looked at by nobody, so it comes first.
    session.run("zensical", "build", "--strict")
    quiet = {"NO_MKDOCS_2_WARNING": "1"}
    session.run("mkdocs", "build", "--strict", *session.posargs, env=quiet)
    install_chromium(session)
    looked_at = ["website/browser", "website/examples", "website/docstrings.py"]
    session.run("python", "-m", "pytest", "-rfEs", *PARALLEL, *looked_at, env={"SITE": site})


def install_chromium(session: nox.Session) -> None:
    """Install the browser where there is none and this may be done; the tests say if it failed."""
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        install_from_debian(session, "chromium")


def install_from_debian(session: nox.Session, *packages: str) -> None:
    """Install what is not a Python package, where there is apt-get and this may be done."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return
    quietly = {"external": True, "silent": True, "success_codes": range(256)}
    session.run("apt-get", "update", "-qq", **quietly)
    session.run("apt-get", "install", "-qq", "-y", *packages, **quietly)


@nox.session(python=python_for_peers())
def bench(session: nox.Session) -> None:
    """Measure both versions and the peers; `-- quick`, `-- publish`, `-- --help`."""
    install(session)
    for requirement in nox.project.dependency_groups(PROJECT, "bench"):
        session.install(requirement, success_codes=[0, 1])  # the report names what is missing
    words = ["--publish" if word == "publish" else word for word in session.posargs]
    session.run("python", "-m", "benchmarks", *words)


@nox.session
def demo(session: nox.Session) -> None:
    """Show the tours of both versions."""
    install(session)
    session.run("python", "v1_order_matching_engine/main.py")
    session.run("python", "v2_event_driven_engine/main.py")


@nox.session
def tracebook(session: nox.Session) -> None:
    """Compare both versions with an outside judge, which has a reference of its own."""
    install(session, "tests", "tracebook")
    session.run("python", "-m", "pytest", "shared_tests/tracebook", *session.posargs)


@nox.session
def peers(session: nox.Session) -> None:
    """Compare both versions with engines by other authors; PEER_COMMANDS says how many commands."""
    install(session, "tests", "peers")
    session.run("python", "-m", "pytest", "shared_tests/peers", *session.posargs)


@nox.session
def mutation(session: nox.Session) -> None:
    """Change the rules in thousands of small ways; every change must make a test fail."""
    install(session, "tests", "mutation")
    session.run("python", "-m", "shared_tests.planted_bugs.mutation", *session.posargs)
