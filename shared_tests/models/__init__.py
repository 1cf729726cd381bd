"""The protocols as small models, in which Spin looks at every state that there is.

The models are texts in `docs/models`; each begins with what it abstracts, what it leaves out and
what it claims. Read `check` (one model, or one planted mistake, exhaustively) and `page` (the table
and the picture of the documentation). `python -m shared_tests.models` checks them all, and
`--publish` writes what the page shows.

Tests: `test_models` wants every claim kept, every statement reached, and every planted mistake
found by the claim that it offends against.
"""
