"""The engine: the rules of the rulebook, and one lock around them.

Reading order: `events` (what comes out), `views` (answers to questions), `order_book` (two sides of
price levels), `register` (every order id ever used), `checks` (why a command is refused), `matcher`
(the rules: state and command in, events out), `matching_engine` (lock, sequence, clock, history).

From outside import from the package's root; `utils/` may import `events`, `views` and
`matching_engine`.
"""
