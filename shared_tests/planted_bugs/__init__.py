"""Tests that are tested: every bug that is planted in V1 or V2 must be found.

`test_broken_rules.py` breaks the reference. Here the two versions themselves are broken, each in
the way its own code invites, and the very tests that guard them must notice.

    python -m shared_tests.planted_bugs                 writes docs/planted_bugs.md
    python -m shared_tests.planted_bugs --only "IOC"    only the bugs with this in their name
    python -m shared_tests.planted_bugs.mutation        writes docs/mutation.md

| module | what it is for |
|---|---|
| `bugs.txt` | the bugs: for each a name, a section of the rulebook, a patch for V1 and one for V2 |
| `files.txt` | where the files are that the bugs change: an alias each |
| `patch` | reads them, and applies one |
| `hunt` | plants a bug in a copy of the project and runs the tests there until one fails |
| `page` | the table of which test found what |
| `mutation`, `equivalent.txt` | the same without imagination: every comparison, every constant |
"""
