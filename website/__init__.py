"""The site's own code: what makes the pages of docs/ alive, and the tests of the built site.

session.py   what the engine in the page does: one market, its log, its disk; also runs in CPython
log_map.py   the bytes of the log, field by field, with what each is for
stories.py   a scenario for three engines;  bugs.py  a bug for all scenarios
rules.py     the rulebook, rule by rule, from rules.txt
record.py    what pages show before, or without, the engine; and tables that are generated
sources.py   the architecture map, and the pages of source that it leads to
tours.py     both tours, recorded as they ran
charts.py    charts and sentences with the figures of the benchmarks
fetch.py     what the engine in the page needs, by pinned version and hash
compile.mjs  its Python files, compiled once
standin/     crc32c in Python, for where C code cannot run
theme/       what the pages change of the theme
tests/       of all this, in CPython
examples/    run every shell session, Python example and exercise of the pages
browser/     look at the built site with Chromium
"""
