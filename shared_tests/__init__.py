"""The conformance suite: one rulebook, every engine held to it by the same tests.

Three independent writings of the rulebook meet here: V1, V2 and a naive reference that is too slow
for anything but being right. They are compared event by event, hash by hash.

| room, in reading order | what is in it |
|---|---|
| `engines` | what a test may ask of an engine; V1 and V2 as such engines |
| `reference` | the third opinion: the rules, and what counts as malformed |
| `scenarios` | golden text files, one per rule |
| `judge` | a judge that checks a trace without matching |
| `histories` | many threads at one engine: can their answers be explained? |
| `programs` | both `main.py` as subprocesses |
| `planted_bugs` | mistakes in copies of V1 and V2 that the tests must notice |
| `peers`, `tracebook` | outside opinions |

Each test is beside the library that it uses; each room's `__init__.py` says in which order to read
it.
"""
