"""V1 and V2 before a judge who has never read the rulebook.

    nox -s tracebook                          ten minutes: 100 flows of 400 events, twelve times
    TRACEBOOK_TRACES=1000 nox -s tracebook    more flows of every kind

Skipped where `tracebook-conformance` is not installed, so the ordinary run of the tests leaves it
out. The judge's own command line does the same, from the repository's root:

    tracebook-conformance qualify --profile fifo-full-v1 --output-dir report \\
        --candidate-cmd "python -m shared_tests.tracebook.adapter v1"
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from ..engines.adapters import V1
from ..engines.engine import Event, encode
from ..programs.program import ROOT
from .adapter import identity, parse, with_all_fields
from .candidate import Candidate, Settings

tracebook: Any = pytest.importorskip(
    "tracebook.conformance", reason="tracebook-conformance is not installed: nox -s tracebook"
)

TRACES = int(os.environ.get("TRACEBOOK_TRACES", "100"))
EVENTS_PER_TRACE = 400
SEEDS = [1, 42, 20_120_621]
PROFILES = ["fifo-full-v1", "fifo-partial-fill-v1"]
VERSIONS = ["v1", "v2"]

OUT_OF_SCOPE = {"pro-rata-allocation": "the rulebook fills by time at a price, not in proportion"}
"""The cases of the fixed suite that ask for what the rulebook does not have, and why not."""

IN_SCOPE = [
    "fifo-lifecycle",
    "order-instructions",
    "stp-cancel-resting",
    "stp-cancel-resting-deep",
    "stp-cancel-incoming",
    "multi-symbol",
    "tick-grid",
    "deep-cancellation",
]


def candidate(name: str, module: str = "shared_tests.tracebook.adapter") -> Any:
    """What the judge needs to start the adapter of one version, once per flow."""
    command = [sys.executable, "-m", module, name]
    return tracebook.ExternalProcessAdapterFactory(command, timeout_seconds=5.0, cwd=ROOT)


@pytest.fixture
def suite(tmp_path: Path) -> Any:
    """The judge's fixed suite; its files are checked against their hashes when they are read."""
    return tracebook.copy_bundled_conformance_suite(tmp_path / "suite", suite_version="v2")


def assert_conformant(report: Any) -> None:
    """Fail with the first difference, or with what went wrong with the adapter program."""
    if report.conformant:
        return
    kind = "the adapter failed" if report.operational_failure else "the rules differ"
    pytest.fail(f"{report.trace_name}: {kind}: {report.divergence.to_dict()}")


def judge_flows(profile_name: str, seed: int, traces: int, adapter: Any) -> Any:
    """Let the judge make up flows and compare; return what the flows had in them.

    The judge's own campaign does the same, but keeps to itself why an adapter program failed.
    """
    profile = tracebook.get_campaign_profile(profile_name)
    flows = []
    for number in range(traces):
        flow_seed = seed * 1_000_000 + number
        flow = tracebook.generate_campaign_trace(profile, flow_seed, EVENTS_PER_TRACE)
        name = f"{profile_name}, seed {flow_seed}"
        report = tracebook.run_conformance(flow, adapter, profile.config, name)
        assert_conformant(report)
        assert report.compared_events == EVENTS_PER_TRACE
        flows.append(flow)
    return tracebook.measure_semantic_coverage(flows, profile.config, profile.capabilities)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_judge_finds_no_difference_in_flows_that_it_made_up(
    version: str, profile: str, seed: int
) -> None:
    coverage = judge_flows(profile, seed, TRACES, candidate(version))
    assert coverage.compared_events == TRACES * EVENTS_PER_TRACE
    assert coverage.uncovered_capabilities == ()
    assert coverage.trades > TRACES


def test_the_judge_finds_no_difference_when_every_answer_waits_for_the_disk() -> None:
    judge_flows("fifo-full-v1", seed=7, traces=5, adapter=candidate("v2-disk"))


@pytest.mark.parametrize("name", IN_SCOPE)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_case_of_the_fixed_suite_that_is_in_scope_passes(
    version: str, name: str, suite: Any
) -> None:
    (case,) = (case for case in suite.cases if case.name == name)
    report = tracebook.run_conformance(case.load_events(), candidate(version), case.config, name)
    assert_conformant(report)


def test_every_case_of_the_fixed_suite_is_in_scope_or_out_of_it_by_name(suite: Any) -> None:
    assert {case.name for case in suite.cases} == {*IN_SCOPE, *OUT_OF_SCOPE}


@pytest.mark.parametrize("name", OUT_OF_SCOPE)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_case_out_of_scope_is_refused_before_its_first_event(
    version: str, name: str, suite: Any
) -> None:
    only = dataclasses.replace(suite, cases=[case for case in suite.cases if case.name == name])
    with pytest.raises(tracebook.AdapterProtocolError, match="NOT_IN_THE_RULEBOOK: pro_rata"):
        tracebook.run_conformance_suite(only, candidate(version))


class WithoutProgram:
    """The candidate in the judge's own process, for an engine that no program offers."""

    def __init__(self, engine: V1, config: Any) -> None:
        self.metadata = tracebook.EngineMetadata.from_dict(identity("with a mistake"))
        self.candidate = Candidate(engine, Settings.from_config(config.to_dict()))

    def apply(self, event: Any, index: int) -> Any:
        fields = with_all_fields(parse(json.dumps(event.to_dict())))
        return tracebook.Observation.from_dict(self.candidate.observe(index, fields))

    def snapshot(self) -> Any:
        return tracebook.BookState.from_dict(self.candidate.state())

    def close(self) -> None:
        self.candidate.engine.close()


class ReducedGoesToTheTail(V1):
    """V1 with the mistake of carrying out a reduce as a replace, which loses the order's place."""

    def execute_line(self, line: bytes) -> list[Event]:
        command = json.loads(line)
        if command["command"] == "reduce":
            remaining = self.order(command["order_id"])[1] - command.pop("by")
            if remaining > 0:
                line = encode(command | {"command": "replace", "quantity": remaining})
        return super().execute_line(line)


def test_the_judge_notices_a_reduced_order_that_goes_to_the_tail() -> None:
    result = tracebook.run_campaign(
        lambda config: WithoutProgram(ReducedGoesToTheTail(), config),
        "fifo-full-v1",
        SEEDS[0],
        TRACES,
        EVENTS_PER_TRACE,
    )
    assert not result.conformant
    reduced = result.failure.minimization.events
    assert [event.op for event in reduced] == ["new", "new", "reduce"]
