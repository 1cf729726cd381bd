"""The notation of the golden scenarios: a market's story, one line a command.

    # Rulebook 4.4. What is left of a partly filled maker keeps its place.
    # Sending the remainder to the tail would punish an order for having traded.
    sell 1 5@100
    sell 2 5@100
    buy  3 2@100        => 3 buys 2@100 from 1
    buy  4 4@100        => 4 buys 3@100 from 1; 4 buys 1@100 from 2
    order 2             => PARTIALLY_FILLED 4

A file starts with a comment that names the section of the rulebook and says why. To the left of
`=>` is a command or a question, to the right **every** event it causes, or the whole answer,
separated by `;`. A line that begins with `=>` goes on with the line above.

To be short, a scenario starts with the instrument ABC listed (unless its first line is `empty`),
every order belongs to the participant of the same number (unless `by` says otherwise), and a new
order's `order_accepted` is understood.

Commands (`[ ]` may be left out; `max` is 2^63-1):

    buy|sell ID QUANTITY[@PRICE] [market] [gtc|ioc|fok] [post-only] [stp MODE] [by P] [on SYMBOL]
    cancel ID [by P]
    reduce ID QUANTITY [by P]
    replace ID [QUANTITY][@PRICE] [by P]
    mass-cancel P [on SYMBOL]
    list SYMBOL [tick SIZE] [lot SIZE]
    send {"command": …}                    (the line as it is, for what the notation cannot say)

Events:

    4 buys 3@100 from 1      4 sells 3@100 to 1        rejected REASON         refused REASON
    3 canceled 5 REASON      3 expired 5               3 reduced to 5          3 replaced 5@100
    7 mass-canceled 2        listed                    malformed [FIELD]

Questions and their answers:

    order ID                 => STATUS [OPEN]
    book [SYMBOL] [depth N]  => bids QUANTITY@PRICE/ORDERS, …; asks none
    resting                  => NUMBER
    sequence                 => NUMBER
    hash                     => empty | the 64 digits | the canonical text, its lines as phrases
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ..engines.engine import MAX, Event, encode

QUESTIONS = ("order", "book", "resting", "sequence", "hash")


class ScenarioError(Exception):
    """The scenario file cannot be read. The message starts with file and line."""


@dataclass
class Step:
    """One command or question and what must come of it."""

    where: str  # file:line
    text: str
    line: bytes = b""  # the command as NDJSON; empty for a question
    question: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    phrases: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Scenario:
    """A parsed scenario file."""

    name: str
    empty: bool  # no instrument is listed before the first step
    steps: list[Step]


def read_scenario(path: Path) -> Scenario:
    """Read a scenario file."""
    return parse_scenario(path.read_text(encoding="utf-8"), path.name)


def parse_scenario(text: str, name: str) -> Scenario:
    """Parse the text of a scenario; `name` is used in messages.

    >>> scenario = parse_scenario("# Rulebook 4. Why.\\nbuy 1 5@100\\norder 1 => NEW 5", "x.txt")
    >>> scenario.steps[0].line
    b'{"command":"new","order_id":1,"participant":1,"symbol":"ABC","side":"BUY",...
    >>> scenario.steps[1].phrases
    ['NEW 5']
    >>> parse_scenario("# Rulebook 4. Why.\\nbye 1 5@100", "x.txt")
    Traceback (most recent call last):
    shared_tests.scenarios.scenario.ScenarioError: x.txt:2: no such command or question: 'bye'
    """
    if not re.match(r"# Rulebook [1-8]", text):
        raise ScenarioError(f"{name}:1: a scenario starts with '# Rulebook', the section, and why")
    owners: dict[int, int] = {}
    steps: list[Step] = []
    empty = False
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"{name}:{number}"
        left, arrow, right = (part.strip() for part in line.partition("=>"))
        phrases = [phrase.strip() for phrase in right.split(";")] if right else []
        if line.startswith("#") or not line.strip():
            continue
        if arrow and not phrases:
            raise ScenarioError(f"{where}: nothing after '=>'")
        if arrow and not left:
            if not steps:
                raise ScenarioError(f"{where}: '=>' goes on with the line above, and there is none")
            steps[-1].phrases += phrases
        elif left == "empty":
            if steps:
                raise ScenarioError(f"{where}: 'empty' must come first")
            empty = True
        else:
            step = Step(where, left, phrases=phrases)
            _Words(step).parse(owners)
            steps.append(step)
    for step in steps:
        if step.question and not step.phrases:
            raise ScenarioError(f"{step.where}: a question needs '=>' and its answer")
    return Scenario(name, empty, steps)


class _Words:
    """The words of one line, taken from left to right."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.words = step.text.split()

    def parse(self, owners: dict[int, int]) -> None:
        """Fill in the step. `owners` remembers who first used an order id, for `cancel 3`."""
        if self.step.text.startswith("send "):
            self.step.line = self.step.text.removeprefix("send ").encode()
            return
        verb = self.take("a command")
        if verb in QUESTIONS:
            self.step.question = verb
            self.step.arguments = self.question_arguments(verb)
        else:
            self.step.line = encode(self.command(verb, owners))
        if self.words:
            self.fail(f"not understood: {' '.join(self.words)!r}")

    def command(self, verb: str, owners: dict[int, int]) -> dict[str, object]:
        if verb in ("buy", "sell"):
            command = self.new_order(verb)
            owners.setdefault(command["order_id"], command["participant"])
            return command
        if verb == "list":
            symbol = self.take("a symbol")
            tick_size = self.option("tick") or "0.01"
            lot_size = self.option("lot") or "1"
            return {
                "command": "list_instrument",
                "symbol": symbol,
                "tick_size": tick_size,
                "lot_size": lot_size,
            }
        if verb == "mass-cancel":
            participant = self.number(self.take("a participant"))
            return {
                "command": "mass_cancel",
                "participant": participant,
                "symbol": self.option("on"),
            }
        if verb not in ("cancel", "reduce", "replace"):
            self.fail(f"no such command or question: {verb!r}")
        order_id = self.number(self.take("an order id"))
        fields: dict[str, object] = {"command": verb, "order_id": order_id, "participant": 0}
        if verb == "reduce":
            fields["by"] = self.number(self.take("a quantity"))
        if verb == "replace":
            at = self.words.pop(0) if self.words and self.words[0] != "by" else ""
            fields["quantity"], fields["price"] = self.quantity_at_price(at)
        by = self.option("by")
        fields["participant"] = self.number(by) if by else owners.get(order_id, order_id)
        return fields

    def new_order(self, verb: str) -> dict[str, Any]:
        order_id = self.number(self.take("an order id"))
        quantity, price = self.quantity_at_price(self.take("QUANTITY@PRICE"))
        command: dict[str, Any] = {
            "command": "new",
            "order_id": order_id,
            "participant": order_id,
            "symbol": "ABC",
            "side": verb.upper(),
            "type": "LIMIT",
            "quantity": quantity,
        }
        if price is not None:
            command["price"] = price
        while self.words:
            word = self.take("an option")
            if word == "market":
                command["type"] = "MARKET"
            elif word in ("gtc", "ioc", "fok"):
                command["time_in_force"] = word.upper()
            elif word == "post-only":
                command["post_only"] = True
            elif word == "stp":
                mode = self.take("a mode")
                command["self_trade_prevention"] = mode.upper().replace("-", "_")
            elif word == "by":
                command["participant"] = self.number(self.take("a participant"))
            elif word == "on":
                command["symbol"] = self.take("a symbol")
            else:
                self.fail(f"no such option: {word!r}")
        return command

    def question_arguments(self, verb: str) -> dict[str, Any]:
        if verb == "order":
            return {"order_id": self.number(self.take("an order id"))}
        if verb == "book":
            named = self.words and self.words[0] != "depth"
            symbol = self.take("a symbol") if named else "ABC"
            depth = self.option("depth")
            return {"symbol": symbol, "depth": self.number(depth) if depth else 10}
        return {}

    def take(self, what: str) -> str:
        if not self.words:
            self.fail(f"{what} is missing at the end")
        return self.words.pop(0)

    def option(self, name: str) -> str | None:
        if self.words and self.words[0] == name:
            self.words.pop(0)
            return self.take(f"what follows {name!r}")
        return None

    def quantity_at_price(self, word: str) -> tuple[int | None, int | None]:
        quantity, _, price = word.partition("@")
        return (
            self.number(quantity) if quantity else None,
            self.number(price) if price else None,
        )

    def number(self, word: str) -> int:
        try:
            return parse_number(word)
        except ValueError:
            self.fail(f"not a number: {word!r}")

    def fail(self, problem: str) -> NoReturn:
        raise ScenarioError(f"{self.step.where}: {problem}")


def parse_number(word: str) -> int:
    """Read a number, or `max`."""
    return MAX if word == "max" else int(word)


_N = r"(-?\d+|max)"
PHRASES: list[tuple[str, str, list[str]]] = [
    # pattern, event, the fields that the groups of the pattern give
    (
        rf"{_N} (buys) {_N}@{_N} from {_N}",
        "trade_executed",
        ["taker_order_id", "taker_side", "quantity", "price", "maker_order_id"],
    ),
    (
        rf"{_N} (sells) {_N}@{_N} to {_N}",
        "trade_executed",
        ["taker_order_id", "taker_side", "quantity", "price", "maker_order_id"],
    ),
    (rf"{_N} canceled {_N} ([A-Z_]+)", "order_canceled", ["order_id", "remaining", "reason"]),
    (rf"{_N} expired {_N}", "order_expired", ["order_id", "remaining"]),
    (rf"{_N} reduced to {_N}", "order_reduced", ["order_id", "remaining"]),
    (rf"{_N} replaced {_N}@{_N}", "order_replaced", ["order_id", "remaining", "price"]),
    (rf"{_N} mass-canceled {_N}", "mass_canceled", ["participant", "count"]),
    (r"refused ([A-Z_]+)", "cancel_rejected", ["reason"]),
    (r"rejected ([A-Z_]+)", "rejected", ["reason"]),
    (r"listed", "instrument_listed", []),
]


def parse_phrase(phrase: str, where: str) -> Event:
    """The event that a phrase speaks of, with the fields that the phrase names.

    >>> parse_phrase("3 expired 5", "x.txt:1")
    {'event': 'order_expired', 'order_id': 3, 'remaining': 5}
    """
    for pattern, event, names in PHRASES:
        match = re.fullmatch(pattern, re.sub(r"\s+", " ", phrase))
        if match is None:
            continue
        fields: Event = {"event": event}
        for name, text in zip(names, match.groups(), strict=True):
            if name == "taker_side":
                fields[name] = text.removesuffix("s").upper()
            else:
                fields[name] = text if name == "reason" else parse_number(text)
        return fields
    raise ScenarioError(f"{where}: no such event: {phrase!r}")


def decode(line: bytes) -> dict[str, Any]:
    """The command that a step sends, or {} if it is no JSON object."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
