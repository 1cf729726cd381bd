"""`audit`: what happened, in sentences, from the audit trail."""

import argparse
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

from ..engine.audit.trail import AUDIT_LOG, end_of_trail, read_lines
from ..engine.audit_event import NANOSECONDS, TRAIL_SEALED, time_text
from ..errors import DirectoryUnusable, StoreError
from .directory import open_for_reading
from .exits import CHECK_FAILED, OK
from .files import write_to_standard_output
from .options import Subcommands, add_subcommand
from .output import progress_bar, say, show
from .replay import replay_report, state_as_of
from .signals import StopSignals
from .verify import chain_report


def add(commands: Subcommands) -> None:
    """Register the subcommand."""
    text = "Tell what happened, in sentences, from the audit log."
    parser = add_subcommand(commands, "audit", text, audit)
    parser.add_argument("--order", type=int, metavar="ID", help="only this order")
    parser.add_argument("--participant", type=int, metavar="P", help="only this participant")
    parser.add_argument("--symbol", metavar="S", help="only this instrument")
    parser.add_argument(
        "--since", type=Period.of, metavar="TIME",
        help="from the beginning of a day, minute or second on: 2026-11-22, 2026-11-22T09:30, "
        "2026-11-22T09:30:00.5+01:00; UTC without a zone",
    )  # fmt: skip
    parser.add_argument(
        "--until", type=Period.of, metavar="TIME", help="to the end of such a day, minute or second"
    )
    parser.add_argument("--verify", action="store_true", help="check the hash chain instead")


def audit(options: argparse.Namespace) -> int:
    """Show the selected lines of the trail, or check its chain."""
    if options.verify:
        return _verify(options)
    directory = open_for_reading(options.data_dir)
    if AUDIT_LOG not in directory.storage.names():
        raise DirectoryUnusable(
            f"{directory.audit_log}: no audit trail; the next start of an engine writes it"
        )
    selection = Selection(
        options.order, options.participant, options.symbol, options.since, options.until
    )
    lines = filter(selection.has, read_lines(directory.storage))
    if options.json:
        audited = end_of_trail(directory.storage).sequence
        report = replay_report(state_as_of(directory, audited, lambda _: None))
        write_to_standard_output(json.dumps(report)[:-1].encode() + b', "lines": [')
        for number, line in enumerate(lines):
            write_to_standard_output((", " * (number > 0) + json.dumps(line)).encode())
        say("]}")
        return OK
    shown = []
    for line in lines:
        say(sentence(line))
        if options.order is not None:
            shown.append(line)
    if shown:
        say("")
        for row in table(shown):
            say(row)
    return OK


def _verify(options: argparse.Namespace) -> int:
    directory = open_for_reading(options.data_dir)
    with StopSignals() as stop, progress_bar("audit", None, stop) as advance:
        report = {
            **replay_report(state_as_of(directory, None, advance)),
            **chain_report(directory),
        }
    show(options, report)
    return OK if report["ok"] else CHECK_FAILED


TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?(Z|[+-]\d\d:\d\d)?",
    re.ASCII,
)


LAST_DAY = "9999-12-31"
"""No moment after it can be written."""


class Period(NamedTuple):
    """A day, a minute, a second or a part of one, as texts that compare like a line's `time`."""

    begin: str
    end: str
    """The first moment after it."""

    @classmethod
    def of(cls, text: str) -> Self:
        """The period that a text names.

        Raises:
            ArgumentTypeError: it names none; the command line says so, with exit status 2.
        """
        found = TIME.fullmatch(text)
        if found is None:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no time; expected such as 2026-11-22 or 2026-11-22T09:30:00.5+01:00"
            )
        day, minute, second, fraction, zone = found.groups()
        try:
            moment = datetime.fromisoformat(
                f"{day}T{minute or '00:00'}:{second or '00'}{zone or '+00:00'}"
            )
            seconds = int(moment.timestamp())
        except (ValueError, OverflowError) as error:
            raise argparse.ArgumentTypeError(f"{text!r} is no time: {error}") from None
        begin = seconds * NANOSECONDS + int((fraction or "").ljust(9, "0"))
        if fraction:
            length = 10 ** (9 - len(fraction))
        else:
            length = NANOSECONDS * (1 if second else 60 if minute else 24 * 60 * 60)
        try:
            return cls(time_text(begin), time_text(begin + length))
        except (ValueError, OverflowError):
            raise argparse.ArgumentTypeError(
                f"{text!r} ends too late; name a time before {LAST_DAY}"
            ) from None


@dataclass(frozen=True)
class Selection:
    """Which lines of the trail to show; None is any."""

    order_id: int | None = None
    participant: int | None = None
    symbol: str | None = None
    since: Period | None = None
    until: Period | None = None

    def has(self, line: dict[str, Any]) -> bool:
        """Whether to show a line.

        Raises:
            StoreError: its time is no text.
        """
        when = line.get("time", "")
        if type(when) is not str:
            raise StoreError(_cannot_be_shown(line, "its time is no text"))
        return (
            (self.order_id is None or line.get("order_id") == self.order_id)
            and (self.participant is None or line.get("participant") == self.participant)
            and (self.symbol is None or line.get("instrument") == self.symbol)
            and (self.since is None or when >= self.since.begin)
            and (self.until is None or "" < when < self.until.end)
        )


def sentence(line: dict[str, Any]) -> str:
    """An audit line as a plain sentence.

    Raises:
        StoreError: a field is missing or of another kind, or the event is unknown.
    """
    try:
        return _sentence(line)
    except KeyError as missing:
        raise StoreError(_cannot_be_shown(line, f"it has no {missing}")) from None
    except (AttributeError, TypeError, ValueError):
        raise StoreError(_cannot_be_shown(line, "a field is not of its kind")) from None


def _cannot_be_shown(line: dict[str, Any], problem: str) -> str:
    return (
        f"{AUDIT_LOG}: a line of sequence {line['sequence']}: {problem}; "
        "audit --verify says which line was changed"
    )


def _sentence(line: dict[str, Any]) -> str:
    if line["event"] == TRAIL_SEALED:
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
            what = f"{who}: the remainder expired"
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
        case "instrument_rejected":
            what = f"{line['instrument']} not listed: {line['reason']}"
        case unknown:
            raise StoreError(
                f"the audit trail has an event {unknown!r}: read it with the version that wrote it"
            )
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
