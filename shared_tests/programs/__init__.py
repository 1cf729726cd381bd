"""Both `main.py` from outside: started, talked to, interrupted; never imported.

Read `program`: where both versions are, and how a test starts one and talks to it.

Tests: the NDJSON stream (`test_ndjson_stdio`), files (`test_run_command`), V2's log
(`test_log_commands`), signals and closed pipes (`test_program_life`), kill -9 (`test_crash`), the
same bytes on every Python and under every hash seed (`test_determinism`).
"""
