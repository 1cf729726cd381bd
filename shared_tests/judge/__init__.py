"""A judge that never matches: it checks what an engine did against properties.

Read `judge` (why this determines book and fills), `evidence` (what the judge remembers) and
`properties` (one small function each). `exhaustion` walks through every sequence of commands up to
a length.

Tests: `test_judge` on random commands and on broken engines, `test_exhaustion`, and
`test_stateful`: crashes, restarts, snapshots and replays between the commands.
"""
