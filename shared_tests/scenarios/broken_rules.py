"""Broken references: one piece of the reference's source replaced at a time.

Each entry is something that a programmer might have written by mistake. If all scenarios still
pass, a sentence of the rulebook is not covered, and an engine with that mistake would pass too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from ..engines.engine import Engine
from ..reference import reference
from .scenario import read_scenario

STORIES = Path(__file__).parent / "stories"
SCENARIOS = [read_scenario(path) for path in sorted(STORIES.glob("*.txt"))]
REFERENCE = Path(reference.__file__)

RULES = [  # what goes wrong, the piece of reference.py, what replaces it
    ("a listed symbol can be listed again", "symbol in self.instruments:", "False:"),
    ("tick size is not checked", "not _is_size(tick)", "False"),
    ("lot size is not checked", "not _is_size(lot)", "False"),
    ("tick size is checked before the symbol", "if symbol in self.instruments:",
     "if _is_size(tick) and symbol in self.instruments:"),
    ("digits of other scripts are digits", r"([0-9]*)\.", r"(\d*)\."),
    ("a size of 0 is fine", 'text.strip("0.") != ""', "True"),
    ("a rejected order leaves its id free",
     "self.orders.setdefault(order.order_id, order)", "pass"),
    ("a second use replaces the first order", "self.orders.setdefault(order.order_id, order)",
     "self.orders[order.order_id] = order"),
    ("the id is checked before the symbol", "if order.symbol not in self.instruments:",
     "if order.order_id not in self.orders and order.symbol not in self.instruments:"),
    ("an id may be used twice", "if order.order_id in self.orders:", "if False:"),
    ("an id is free again once terminal", "if order.order_id in self.orders:",
     'if order.order_id in self.orders and self.orders[order.order_id].status in LIFECYCLE:'),
    ("a price of 0 is fine", 'command["price"] < 1:', 'command["price"] < 0:'),
    ("a MARKET may name a price", 'if not limit and command["price"] is not None:', "if False:"),
    ("a quantity of 0 is fine", "order.remaining < 1:", "order.remaining < 0:"),
    ("a MARKET may be GTC", 'not limit and command["time_in_force"] == "GTC"', "False"),
    ("post-only IOC is fine", 'not (limit and command["time_in_force"] == "GTC")', "not limit"),
    ("post-only MARKET is fine", 'not (limit and command["time_in_force"] == "GTC")',
     'command["time_in_force"] != "GTC" and limit'),
    ("post-only may trade", "if order.post_only and self._tradable(order):\n            return",
     "if False:\n            return"),
    ("post-only overlooks own orders",
     "if order.post_only and self._tradable(order):\n            return",
     "if order.post_only and any(not _prevented(order, m) for m in self._tradable(order)):\n"
     "            return"),
    ("FOK is an IOC", 'time_in_force != "FOK" or self._fillable(order)', "True"),
    ("a remainder never rests", 'if time_in_force == "GTC":', "if False:"),
    ("a remainder goes to the head", "self.resting.append(order)", "self.resting.insert(0, order)"),
    ("symbols trade with each other", "order.symbol == taker.symbol and ", ""),
    ("sides do not matter", " and order.side != taker.side", " and order is not taker"),
    ("equal prices do not trade for buyers", "_price(order) <= taker.price",
     "_price(order) < taker.price"),
    ("equal prices do not trade for sellers", "_price(order) >= taker.price",
     "_price(order) > taker.price"),
    ("price does not count", "return sorted(opposite, key=_best_first)", "return opposite"),
    ("time does not count", "key=_best_first)", "key=lambda o: (_best_first(o), o.order_id))"),
    ("the youngest first", "return sorted(opposite, key=_best_first)",
     "return sorted(opposite[::-1], key=_best_first)"),
    ("the largest first", "key=_best_first)", "key=lambda o: (_best_first(o), -o.remaining))"),
    ("worst bid first", "return -_price(order)", "return _price(order)"),
    ("FOK counts own orders under CANCEL_MAKER", "continue  # 4:", "pass  # 4:"),
    ("FOK under CANCEL_TAKER passes over own orders", "return False  # 4:", "continue  # 4:"),
    ("FOK looks at own orders after the last lot", "if needed <= 0:\n                return True",
     "pass"),
    ("FOK wants more than it needs", "if needed <= 0:", "if needed < 0:"),
    ("own orders after the last lot are reached",
     "if taker.remaining == 0:\n                return",
     "if taker.remaining == 0 and not _prevented(taker, maker):\n                return"),
    ("CANCEL_BOTH spares the maker", 'in ("CANCEL_MAKER", "CANCEL_BOTH")', '== "CANCEL_MAKER"'),
    ("CANCEL_BOTH spares the taker", 'in ("CANCEL_TAKER", "CANCEL_BOTH")', '== "CANCEL_TAKER"'),
    ("a prevented taker expires", "taker.move_to(\"CANCELED\")\n", "return\n"),
    ("the sweep goes on after CANCEL_TAKER", "return\n            else", "pass\n            else"),
    ("the maker's mode decides", 'taker.self_trade_prevention != "NONE"',
     'maker.self_trade_prevention != "NONE"'),
    ("prevention hits everybody", "taker.participant == maker.participant and ", ""),
    ("the whole order is filled", "min(taker.remaining, maker.remaining)", "taker.remaining"),
    ("the taker's price counts", "price=maker.price,", "price=taker.price or maker.price,"),
    ("a partly filled maker goes to the tail", "if maker.remaining == 0:",
     "self.resting.append(maker)\n        if True:"),
    ("trades are numbered by command", "trade_id=self.trades", "trade_id=len(self.events)"),
    ("remaining is before the fill", "maker_remaining=maker.remaining",
     "maker_remaining=maker.remaining + quantity"),
    ("taker's remaining is before the fill", "taker_remaining=taker.remaining",
     "taker_remaining=taker.remaining + quantity"),
    ("a reduce by 0 is fine", 'command["by"] < 1', 'command["by"] < 0'),
    ("a reduce by too much cancels", ' or command["by"] > order.remaining:',
     ':\n            pass\n        elif command["by"] > order.remaining:\n'
     '            self._take_out(order, "USER")\n        elif False:'),
    ("a reduce to 0 rests", 'elif command["by"] == order.remaining:', "elif False:"),
    ("a reduce loses the place", 'order.remaining -= command["by"]',
     'self.resting.remove(order)\n            self.resting.append(order)\n'
     '            order.remaining -= command["by"]'),
    ("a replace to price 0 is fine", "if price < 1:", "if False:"),
    ("a replace to quantity 0 is fine", "if quantity < 1:", "if False:"),
    ("a replaced post-only order may trade",
     "if order.post_only and self._tradable(order):\n            order",
     "if False:\n            order"),
    ("a refused replace changes the price", "order.price, order.remaining = before", "pass"),
    ("a replace of nothing keeps the place", "self.resting.remove(order)  # 5",
     "if before == (price, quantity):\n"
     '            self._emit_remainder("order_replaced", order, price=price)\n            return\n'
     "        self.resting.remove(order)  # 5"),
    ("a smaller replace keeps the place", "self.resting.remove(order)  # 5",
     "if before[0] == price and before[1] > quantity:\n"
     '            self._emit_remainder("order_replaced", order, price=price)\n            return\n'
     "        self.resting.remove(order)  # 5"),
    ("a replace resets the status", 'self._emit_remainder("order_replaced"',
     'order.status = "NEW"\n        self._emit_remainder("order_replaced"'),
    ("a replace does not trade", 'self._enter(order, "GTC")', "self.resting.append(order)"),
    ("a replace forgets self-trade prevention", "order.price, order.remaining = price, quantity",
     'order.price, order.remaining, order.self_trade_prevention = price, quantity, "NONE"'),
    ("a replace forgets post-only", 'self._emit_remainder("order_replaced"',
     'order.post_only = False\n        self._emit_remainder("order_replaced"'),
    ("quantity is the total, not the open one",
     'order.remaining if command["quantity"] is None else command["quantity"]',
     'order.remaining if command["quantity"] is None else '
     'command["quantity"] - (order.status != "NEW")'),
    ("quantity is checked before price", "if price < 1:", "if price < 1 and quantity >= 1:"),
    ("a mass cancel hits other symbols", "and symbol in (None, order.symbol)", ""),
    ("a mass cancel hits others", "if order.participant == participant and", "if"),
    ("a mass cancel works by age",
     "for order in self._canonical()\n            if order.participant",
     "for order in self.resting\n            if order.participant"),
    ("owner before too late", 'elif order.status not in LIFECYCLE:',
     'elif order.status not in LIFECYCLE and order.participant == command["participant"]:'),
    ("anybody may cancel", 'elif order.participant != command["participant"]:', "elif False:"),
    ("a rejected order is unknown", "if order is None:\n            self._refuse",
     'if order is None or order.status == "REJECTED":\n            self._refuse'),
    ("terminal orders keep their remaining", "order.remaining if order.status in LIFECYCLE else 0",
     "order.remaining"),
    ("sells before buys", "(order.symbol, order.side, ", "(order.symbol, order.side == 'BUY', "),
    ("symbols by age", "(order.symbol, order.side, ",
     "(self.instruments.index(order.symbol), order.side, "),
    ("refusals are not sequenced", "self._emit(\n            \"cancel_rejected\"",
     "self.commands -= 1\n        self._emit(\n            \"cancel_rejected\""),
    ("the last line has no line feed", '{o.remaining}\\n"', '{o.remaining}"'),
    ("depth is ignored", "prices[:depth]", "prices"),
]  # fmt: skip

EDGE = [  # the same for input.py
    ("true is 1", "type(value) is not int", "not isinstance(value, int)"),
    ("unknown fields are ignored", "if given != kind and given not in fields:", "if False:"),
    ("null is a value", "if value.get(name) is None:", "if name not in value:"),
    ("a symbol may end with a line feed", "re.fullmatch(r\"[A-Z0-9./-]{1,16}\", value)",
     "re.match(r\"[A-Z0-9./-]{1,16}$\", value)"),
    ("a symbol may be long", "{1,16}", "{1,17}"),
    ("a symbol may be empty", "{1,16}", "{0,16}"),
    ("a LIMIT needs no price",
     "parsed[\"price\"] is None:\n            raise", "False:\n            raise"),
    ("a replace may keep both", "if name == \"replace\" and", "if False and"),
    ("a mass cancel needs no symbol", "if name == \"mass_cancel\" and", "if False and"),
    ("MARKET is GTC by default", 'fields["type"] == "LIMIT" else "IOC"', 'True else "IOC"'),
    ("ids start at 0", "ID = _integer(1, MAX)", "ID = _integer(0, MAX)"),
    ("ids have 32 bits", "ID = _integer(1, MAX)", "ID = _integer(1, 2**32)"),
    ("participants have 64 bits", "_integer(1, 2**32 - 1)", "_integer(1, MAX)"),
    ("participants are signed", "_integer(1, 2**32 - 1)", "_integer(1, 2**31 - 1)"),
    ("numbers are unbounded", "_integer(-MAX - 1, MAX)", "_integer(-MAX * 9, MAX * 9)"),
    ("0 is malformed", "_integer(-MAX - 1, MAX)", "_integer(1, MAX)"),
    ("post_only takes any truth", "isinstance(value, bool)", "value in (0, 1, \"true\")"),
    ("sizes may be numbers", "None if isinstance(value, str) else \"not a string\"", "None"),
]  # fmt: skip


def load_broken(
    file_name: str, piece: str, instead: str, monkeypatch: pytest.MonkeyPatch
) -> type[Engine]:
    """The reference engine, made from sources in which one piece is another."""
    engine: type[Engine] | None = None
    for name in ("input.py", "reference.py"):
        source = REFERENCE.with_name(name).read_text(encoding="utf-8")
        if name == file_name:
            assert source.count(piece) == 1, f"{piece!r} is there {source.count(piece)} times"
            source = source.replace(piece, instead)
        if name == "reference.py":
            source = source.replace("from .input", "from .broken_input")
        module = ModuleType(f"{reference.__package__}.broken_{name.removesuffix('.py')}")
        module.__package__ = reference.__package__
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(source, f"broken {name}", "exec"), module.__dict__)
        engine = getattr(module, "Reference", None)
    assert engine is not None
    return engine
