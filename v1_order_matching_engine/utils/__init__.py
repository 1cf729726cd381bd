"""What the command line is made of; the engine imports none of it.

Reading order: `session` (lines in, answers out), `ndjson` (lines to commands and back), `files`
(bytes in and out), `signals` (stopping between two commands), `metrics` (figures), `tour` (what
`python main.py` shows).

From outside `ndjson` alone is of use: to read and write the line format in another program.
"""
