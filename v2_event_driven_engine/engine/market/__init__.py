"""The market: commands in, events out. No I/O, no clock, no thread, no randomness.

Reading order: `../events.py`, `../trade.py` (what can happen), `../order_book.py` (levels and
queues, without rules), `market_state` (all books and all orders ever), `matcher` (the rulebook),
`validation` (what a command must be before it may come here), `views` (answers to questions).
`errors` and `models` are below; nothing else is imported. Used from outside: `Matcher`,
`validate`, the views.
"""
