"""A third engine, written from the rulebook to be right and nothing else.

Read `reference` (the rules, with section numbers), `input` (which lines are malformed) and `stream`
(what `stdio` must answer to a stream of lines). `strategies` makes random sequences of commands; it
runs the reference along to know which orders are resting.

`test_malformed_input` compares what the reference, V1 and V2 refuse.
"""
