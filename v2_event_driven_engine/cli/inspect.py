"""Looking at a data directory: ``status``, ``verify``, ``replay``, ``audit``, ``snapshot``.

All but ``snapshot`` open the directory for reading only and work beside a live engine. Each returns
one dictionary, ready for ``--json``, with at least ``sequence``, ``state_hash`` and ``ok``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..engine import snapshot
from ..engine.audit_logger import AUDIT_LOG, last_place, read_lines, verify_chain
from ..engine.recovery import Progress, Recovered, recover
from ..engine.storage import DirectoryStorage
from ..engine.wal_reader import segment_name, segment_numbers
from ..errors import DirectoryUnusable, StoreError

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
    return {
        **_state(state),
        "commands_since_snapshot": state.commands_replayed,
        "closed_cleanly": state.position.closed,
        "torn_tail": state.torn and state.torn._asdict(),
        "segments": len(numbers),
        "log_bytes": sum(storage.size(segment_name(number)) for number in numbers),
        "snapshots": [int(name.rpartition(".")[2]) for name in snapshot.newest_first(storage)],
        "audit_sequence": last_place(storage).sequence,
        "audit_bytes": storage.size(AUDIT_LOG),
    }


def verify(storage: DirectoryStorage, progress: Progress) -> Report:
    """Read every byte, replay every command, compare every event; check the audit chain."""
    state = recover(storage, use_snapshots=False, progress=progress)
    report = {**_state(state), "commands_verified": state.commands_replayed}
    for name in snapshot.newest_first(storage):
        found = snapshot.restore(snapshot.read(storage, name))
        then = recover(storage, use_snapshots=False, until=found.sequence)
        if then.matcher.state_hash() != found.state_hash():
            return {**report, "ok": False, "error": f"{name}: not the state of that sequence"}
    audit = audit_verify(storage)
    return {**report, **{key: audit[key] for key in ("audit_lines", "ok", "error") if key in audit}}


def audit_verify(storage: DirectoryStorage) -> Report:
    """Check the hash chain of the audit trail."""
    path = storage.path / AUDIT_LOG
    if not path.exists():
        return {"ok": True, "audit_lines": 0}
    lines, broken = verify_chain(path)
    if broken is None:
        return {"ok": True, "audit_lines": lines}
    return {
        "ok": False,
        "audit_lines": lines,
        "error": f"{path}: line {broken.line}: {broken.problem}; to rebuild the trail from the "
        f"log, "
        f"move this file away and start the engine",
    }


def replay(
    storage: DirectoryStorage, until: int | None, progress: Progress
) -> tuple[Report, Recovered]:
    """The state as of ``until``, or the newest, rebuilt from the log."""
    state = recover(storage, until=until, progress=progress)
    if until is not None and state.matcher.sequence < until:
        raise StoreError(
            f"{storage.path}: the log ends at sequence {state.matcher.sequence}; "
            f"choose --until from 0 to there"
        )
    return {**_state(state), "instruments": list(state.matcher.instruments)}, state


def take_snapshot(storage: DirectoryStorage, progress: Progress) -> Report:
    """Replay the log, beside a live engine if there is one, and write the state down."""
    state = recover(storage, progress=progress)
    taken = snapshot.take(state.matcher, state.position, state.unrecorded)
    name = snapshot.write(storage, taken)
    return {**_state(state), "file": str(storage.path / name)}


def audit_lines(
    storage: DirectoryStorage, order_id: int | None, participant: int | None, symbol: str | None
) -> Iterator[dict[str, Any]]:
    """The lines of the trail that concern the order, participant and symbol given."""
    path = storage.path / AUDIT_LOG
    if not path.exists():
        raise DirectoryUnusable(
            f"{path}: there is no audit trail; the next start of an engine writes it"
        )
    for line in read_lines(path):
        if (
            (order_id is None or line.get("order_id") == order_id)
            and (participant is None or line.get("participant") == participant)
            and (symbol is None or line.get("instrument") == symbol)
        ):
            yield line


def sentence(line: dict[str, Any]) -> str:
    """An audit line as a plain sentence."""
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


def _state(state: Recovered) -> Report:
    return {
        "ok": True,
        "sequence": state.matcher.sequence,
        "resting_orders": state.matcher.resting_order_count(),
        "trades": state.matcher.last_trade_id,
        "state_hash": state.matcher.state_hash(),
        **({"warnings": state.warnings} if state.warnings else {}),
    }
