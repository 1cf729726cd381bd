"""Looking at a data directory: ``status``, ``verify``, ``replay``, ``audit``, ``snapshot``.

All but ``snapshot`` open the directory for reading only and work beside a live engine. Each returns
one dictionary, ready for ``--json``, with at least ``sequence``, ``state_hash`` and ``ok``.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine import snapshot
from ..engine.audit_logger import (
    AUDIT_LOG,
    BadLine,
    last_audited_sequence,
    read_lines,
    verify_against_log,
    verify_chain,
)
from ..engine.recovery import Progress, Recovered, recover, take_snapshot
from ..engine.storage import DirectoryStorage
from ..engine.wal_reader import segment_name, segment_numbers
from ..errors import DirectoryUnusable, ReplayDivergence, StoreError

Report = dict[str, Any]


def open_for_reading(data_dir: Path) -> DirectoryStorage:
    """The directory, if there is a log in it."""
    storage = DirectoryStorage(data_dir)
    if not segment_numbers(storage):
        raise DirectoryUnusable(
            f"{data_dir}: there is no log here; with --data-dir name a directory that an engine "
            f"wrote"
        )
    return storage


def status(storage: DirectoryStorage, progress: Progress) -> Report:
    """What is there: last sequence, files, how the last engine ended, how far the audit is."""
    state = recover(storage, progress=progress)
    numbers = segment_numbers(storage)
    snapshots = [snapshot.sequence_of(name) for name in snapshot.newest_first(storage)]
    audited = last_audited_sequence(storage)
    return {
        **_state(state),
        "durable_sequence": state.durable_sequence,
        "closed_cleanly": state.position.closed,
        "torn_tail": state.torn and state.torn._asdict(),
        "segments": len(numbers),
        "log_bytes": sum(storage.size(segment_name(number)) for number in numbers),
        "snapshots": snapshots,
        "snapshot_age_seconds": _age(storage),
        "commands_since_snapshot": state.matcher.sequence - max(snapshots, default=0),
        "audit_sequence": audited,
        "audit_lag": state.matcher.sequence - audited,
        "audit_bytes": storage.size(AUDIT_LOG),
    }


def _age(storage: DirectoryStorage) -> int | None:
    """Seconds since the newest snapshot was written, None without one."""
    for name in snapshot.newest_first(storage)[:1]:
        return round(time.time() - (storage.path / name).stat().st_mtime)
    return None


def verify(storage: DirectoryStorage, progress: Progress) -> Report:
    """Read every byte, replay every command and compare every recorded event; check each snapshot
    and every line of the audit trail against the log."""
    state = recover(storage, from_the_start=True, progress=progress)
    report = {**_state(state), "commands_verified": state.commands_replayed}
    for name in snapshot.newest_first(storage):
        try:
            found = snapshot.read(storage, name)
            snapshot.restore(found)
            then = recover(storage, from_the_start=True, until=snapshot.sequence_of(name))
        except StoreError as error:
            return {**report, "ok": False, "error": str(error)}
        if then.matcher.state_hash() != found.state_hash:
            return {**report, "ok": False, "error": f"{name}: not the state of that sequence"}
    path = storage.path / AUDIT_LOG
    if not path.exists():
        return {**report, "audit_lines": 0}
    if state.snapshot_sequence:
        lines, bad = verify_chain(path)
    else:
        lines, bad = verify_against_log(path, storage)
    return {**report, **_audit_report(path, lines, bad)}


def audit_verify(storage: DirectoryStorage) -> Report:
    """Check the hash chain of the audit trail."""
    path = storage.path / AUDIT_LOG
    if not path.exists():
        return {"ok": True, "audit_lines": 0}
    return _audit_report(path, *verify_chain(path))


def _audit_report(path: Path, lines: int, bad: BadLine | None) -> Report:
    if bad is None:
        return {"ok": True, "audit_lines": lines}
    return {
        "ok": False,
        "audit_lines": lines,
        "error": f"{path}: line {bad.line}: {bad.problem}; to have the trail rebuilt from the log, "
        f"move this file away and start the engine",
    }


def replay(
    storage: DirectoryStorage, until: int | None, progress: Progress, *, diff: bool = False
) -> tuple[Report, Recovered]:
    """The state as of ``until``, or the newest, rebuilt from the log.

    With ``diff``, from the first command on, and events that are not the recorded ones are shown
    instead of ending it.
    """
    divergences: list[ReplayDivergence] | None = [] if diff else None
    state = recover(
        storage, until=until, from_the_start=diff, progress=progress, divergences=divergences
    )
    if until is not None and state.matcher.sequence < until:
        raise StoreError(
            f"{storage.path}: the log ends at sequence {state.matcher.sequence}; "
            f"choose --until from 0 to there"
        )
    report = {**_state(state), "instruments": list(state.matcher.instruments)}
    if divergences is not None:
        report["ok"] = not divergences
        report["differences"] = [
            {"sequence": d.sequence, "index": d.index, "recorded": d.recorded, "derived": d.derived}
            for d in divergences
        ]
        if divergences:
            report["error"] = str(divergences[0])
    return report, state


def write_snapshot(storage: DirectoryStorage, progress: Progress, *, archive: bool) -> Report:
    """Write the state down; with ``archive``, put aside the segments that no snapshot needs."""
    state, name = take_snapshot(storage, progress=progress)
    report = {**_state(state), "file": str(storage.path / name)}
    if archive:
        kept = snapshot.newest_first(storage)
        needed = min(snapshot.read(storage, kept_name).position.segment for kept_name in kept)
        here = [n for n in segment_numbers(storage) if (storage.path / segment_name(n)).exists()]
        report["archived"] = [segment_name(number) for number in here if number < needed]
        for segment in report["archived"]:
            storage.archive(segment)
    return report


@dataclass(frozen=True)
class Selection:
    """Which lines of the trail to show; None is any. Times are prefixes of a line's ``time``."""

    order_id: int | None = None
    participant: int | None = None
    symbol: str | None = None
    since: str | None = None
    until: str | None = None

    def has(self, line: dict[str, Any]) -> bool:
        when: str = line.get("time", "")
        return (
            (self.order_id is None or line.get("order_id") == self.order_id)
            and (self.participant is None or line.get("participant") == self.participant)
            and (self.symbol is None or line.get("instrument") == self.symbol)
            and (self.since is None or when[: len(self.since)] >= self.since)
            and (self.until is None or (when != "" and when[: len(self.until)] <= self.until))
        )


def audit_lines(storage: DirectoryStorage, selection: Selection) -> Iterator[dict[str, Any]]:
    """The selected lines of the trail, streaming."""
    path = storage.path / AUDIT_LOG
    if not path.exists():
        raise DirectoryUnusable(f"{path}: no audit trail; the next start of an engine writes it")
    return filter(selection.has, read_lines(path))


def sentence(line: dict[str, Any]) -> str:
    """An audit line as a plain sentence."""
    if line["event"] == "trail_sealed":
        return f"{'sealed':<30} {line['sequence']:>9}     up to here; chain {line['chain']}"
    who = f"order {line.get('order_id')} of participant {line.get('participant')}"
    left = f"{line.get('remaining_quantity')} left"
    match line["event"]:
        case "order_accepted":
            price = f" at {line['price']}" if "price" in line else ""
            what = (
                f"{who} accepted: {line['side']} {line['initial_quantity']} {line['instrument']}"
                f"{price}, {line['type']} {line['validity']}"
            )
        case "trade_executed":
            verb = "bought" if line["side"] == "BUY" else "sold"
            what = (
                f"{who} {verb} {line['traded_quantity']} {line['instrument']} at {line['price']} "
                f"as {line['liquidity'].lower()}, trade {line['trade_id']} with order "
                f"{line['counterparty_order_id']}; {left}"
            )
        case "order_canceled":
            what = f"{who} canceled ({line['reason']})"
        case "order_expired":
            what = f"{who}: the rest expired"
        case "order_reduced":
            what = f"{who} reduced; {left}"
        case "order_replaced":
            what = f"{who} replaced: now {line['remaining_quantity']} at {line['price']}"
        case "order_rejected":
            what = f"{who} rejected: {line['reason']}"
        case "cancel_rejected":
            what = f"{line['request'].lower()} of {who} refused: {line['reason']}"
        case "mass_canceled":
            where = line.get("instrument", "every symbol")
            count = line["canceled_orders"]
            what = f"participant {line['participant']} canceled all in {where}: {count} orders"
        case "instrument_listed":
            what = f"{line['instrument']} listed, tick {line['tick_size']}, lot {line['lot_size']}"
        case _:
            what = f"{line['instrument']} not listed: {line['reason']}"
    return f"{line['time']}  {line['sequence']:>9}.{line['index']:<3} {what}"


TABLE = ("time", "event", "price", "traded_quantity", "remaining_quantity", "liquidity", "reason")


def table(lines: list[dict[str, Any]]) -> list[str]:
    """The lines of one order as rows of a table, its heading first."""
    rows = [TABLE, *(tuple(str(line.get(field, "")) for field in TABLE) for line in lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _state(state: Recovered) -> Report:
    return {
        "ok": True,
        "sequence": state.matcher.sequence,
        "resting_orders": state.matcher.resting_order_count(),
        "trades": state.matcher.last_trade_id,
        "state_hash": state.matcher.state_hash(),
        **({"warnings": state.warnings} if state.warnings else {}),
    }
