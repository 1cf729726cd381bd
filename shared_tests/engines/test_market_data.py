"""Real order flow: every fill in NASDAQ's own order, and every recorded book on the way.

Random commands show that the engines agree; this shows that what they agree on is what a real
exchange does. A fill with the wrong maker means that price-time priority is broken somewhere.
"""

from __future__ import annotations

import pytest

from .adapters import FAST
from .market_data import DAYS, Fill, TradingDay


@pytest.mark.parametrize("day", DAYS, ids=lambda day: day.symbol)
@pytest.mark.parametrize("name", FAST)
def test_a_real_trading_day_gives_every_fill_and_every_book(name: str, day: TradingDay) -> None:
    if not day.flow_path.exists():
        pytest.skip(f"market data is not on this machine: {day.flow_path}")
    lines = day.lines()
    fills, books = day.expected()
    assert len(lines) == day.commands
    assert len(fills) > 3000
    assert len(books) > 900
    engine = FAST[name]()
    none: list[Fill] = []
    trades = 0
    for number, line in enumerate(lines, start=1):
        traded = engine.fills(line)
        trades += len(traded)
        assert traded == fills.get(number, none), f"fills of command {number}: {line!r}"
        if number in books:
            book = engine.book(day.symbol, day.levels)
            shown = {side: [level[:2] for level in levels] for side, levels in book.items()}
            assert shown == books[number], f"book after command {number}"
    assert trades == day.trades
    assert engine.sequence == day.commands
    assert engine.resting_orders == day.resting_orders
    assert engine.state_hash() == day.state_hash
    engine.check_invariants()
