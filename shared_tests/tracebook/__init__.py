"""An outside judge: Tracebook, which compares engines of any language with a reference of its own.

The other tests here hold V1 and V2 to a rulebook that was written for them. This one asks a judge
whose author has never seen that rulebook. `tracebook-conformance` makes up order flows, sends each
to its own engine and, over NDJSON, to a candidate program, and compares every outcome, every trade
and the whole queue after every event.

| module | what it is for |
|---|---|
| `units` | the judge's decimals as ticks and lots, and back |
| `queues` | the books, rebuilt from published events and checked by the state hash |
| `candidate` | the judge's events as commands, the engine's events as observations |
| `adapter` | the program that the judge starts: `python -m shared_tests.tracebook.adapter v1` |
| `test_tracebook` | the campaigns and the fixed suite; skipped without the package |

`nox -s tracebook` installs the judge (`[dependency-groups] tracebook`) and runs this folder.
Nothing but the test module imports it: what is judged shares no code with the judge.
"""
