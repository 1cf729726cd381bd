"""Concurrent histories: many threads at one engine, and whether their answers can be explained.

Read `plays` (what the clients ask), `histories` (threads ask it, and write down who asked what and
when), `linearizability` (a checker for any sequential model) and `judges` (two ways to judge a
history).

Tests: `test_concurrency` judges V1 and V2, `test_planted_races` plants races that both judges must
find; `test_linearizability` and `test_history_judges` use histories that are made by hand.
"""
