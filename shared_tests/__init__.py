"""The conformance suite: one rulebook, every engine held to it by the same tests.

Three independent writings of the rulebook meet here: V1, V2 and a naive reference that is too slow
for anything but being right. They are compared event by event, hash by hash.

| module | what it is for |
|---|---|
| `engine` | what a test may ask of an engine, in plain values |
| `adapters` | V1 and V2 behind that interface |
| `reference`, `reference_input` | the third opinion: the rules, and what counts as malformed |
| `scenario`, `scenario_runner`, `scenarios/` | golden text files, one per rule |
| `strategies` | random command sequences for Hypothesis |
| `reference_stream`, `examples` | what a stream of lines must be answered with; lines to send |
| `market_data` | a real trading day of NASDAQ, when it is on the machine |
| `judge`, `properties`, `evidence` | a judge that checks a trace without matching |
| `exhaustion` | every sequence of commands up to a length |
| `linearizability`, `concurrent_*`, `history_judges` | is a concurrent history explained? |
| `planted_bugs`, `peers`, `tracebook` | mistakes to be noticed; outside opinions |
| `programs` | both `main.py` as subprocesses |
"""
