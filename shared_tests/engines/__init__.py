"""The engines under test, and the tests that compare them with each other.

Read `engine` (what a test may ask of an engine, in plain values) and then `adapters` (V1 and V2 as
such engines). `examples` has a few orders to send, `market_data` a real trading day of NASDAQ.

Tests: all engines agree, on random commands (`test_agreement`), on clocks that are set back
(`test_time`) and on a day of NASDAQ (`test_market_data`); they share no code
(`test_independence`); and what only the inside of one version shows (`test_v1_inside`,
`test_v2_inside`).
"""
