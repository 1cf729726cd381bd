"""The wheel: installed into an empty environment, it works from an empty folder.

`uv` builds it and makes one environment; Python's own `venv` and `pip` make the other. Skipped
where `uv` is missing: `nox -s package` installs it.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from .program import ROOT

if importlib.util.find_spec("uv") is None:
    pytest.skip("uv is not installed: use `nox -s package`", allow_module_level=True)

UV = [sys.executable, "-m", "uv"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def run(*command: str | Path, cwd: Path, stdin: str = "") -> str:
    """Run a command to its end; its standard output."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "LANG": "C.UTF-8"}
    finished = subprocess.run(
        [str(part) for part in command],
        cwd=cwd, env=environment, input=stdin, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert finished.returncode == 0, f"{command}:\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([*UV, "build", "--wheel", "--out-dir", str(out), str(ROOT)], check=True)
    [path] = out.glob("*.whl")
    return path


@pytest.fixture(scope="module", params=["pip", "uv"])
def programs(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of the commands in an environment that has nothing but the wheel."""
    venv = tmp_path_factory.mktemp(request.param) / "venv"
    if request.param == "uv":
        subprocess.run([*UV, "venv", "--python", sys.executable, str(venv)], check=True)
        install = [*UV, "pip", "install", "--python", str(venv / "bin" / "python"), str(wheel)]
    else:
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        install = [str(venv / "bin" / "python"), "-m", "pip", "install", str(wheel)]
    subprocess.run(install, check=True)
    return venv / "bin"


def test_the_wheel_has_both_versions_and_order_flow_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert packages == {"v1_order_matching_engine", "v2_event_driven_engine", "order_flow"}
    assert {f"{package}/py.typed" for package in packages} <= set(names)
    assert [name for name in names if "/tests/" in name or name.endswith(".md")] == []


def test_the_version_is_that_of_the_changelog(wheel: Path) -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = next(line for line in changelog.splitlines() if line.startswith("## ["))
    assert newest.startswith(f"## [{PROJECT['version']}]")
    assert f"-{PROJECT['version']}-" in wheel.name


def test_the_commands_work_from_an_empty_folder(programs: Path, tmp_path: Path) -> None:
    flow = run(
        programs / "order-flow", "synthetic", "--commands", "2000", "--seed", "7", cwd=tmp_path
    )
    (tmp_path / "flow.ndjson").write_text(flow)
    v1, v2 = (
        json.loads(
            run(programs / name, "run", "flow.ndjson", "--json", cwd=tmp_path).splitlines()[-1]
        )
        for name in ("order-matching-v1", "order-matching")
    )
    assert (v1["commands"], v1["state_hash"]) == (2000, v2["state_hash"])
    assert Path(v2["data_dir"]) == tmp_path / ".local" / "share" / "order-matching"
    assert json.loads(run(programs / "order-matching", "verify", "--json", cwd=tmp_path))["ok"]
    assert "order-matching replay --until" in run(
        programs / "order-matching", "--help", cwd=tmp_path
    )


def test_both_tours_work_from_an_empty_folder(programs: Path, tmp_path: Path) -> None:
    assert "replay" in run(programs / "order-matching-v1", cwd=tmp_path)
    assert "A second replay gives the same state hash" in run(
        programs / "order-matching", cwd=tmp_path
    )
    assert sorted(tmp_path.iterdir()) == [], "nothing is left"


def test_the_packages_are_imported_and_their_types_are_known(
    programs: Path, tmp_path: Path
) -> None:
    for package in ("v1_order_matching_engine", "v2_event_driven_engine"):
        code = (
            f"import {package} as m; e = m.MatchingEngine.in_memory();"
            "print(e.state().sequence); e.close()"
        )
        assert run(programs / "python", "-c", code, cwd=tmp_path) == "0\n"
