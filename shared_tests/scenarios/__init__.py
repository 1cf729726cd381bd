"""Golden scenarios: for each sentence of the rulebook a story in a text file, for every engine.

Read some of `stories/`, then `scenario` (the notation and its parser) and `runner` (which plays a
story and compares everything). `broken_rules` is a list of mistakes in the reference.

Tests: every engine follows every story (`test_scenarios`); with any rule broken, some story fails
(`test_broken_rules`).
"""
