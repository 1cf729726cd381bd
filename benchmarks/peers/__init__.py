"""Other people's engines: each was written by somebody else, in its own way, and is on PyPI.

They are measured beside V1 and V2 here, and `shared_tests/peers` compares what they answer.

| module | what it is for |
|---|---|
| `protocol` | the fragment that order books have in common, and what is asked of a peer |
| `adapters` | the peers under that protocol |

Peers that agree, each over a million commands:

| peer | version | written in | Python |
|---|---|---|---|
| `lightmatchingengine` | 2019.1.4 | Python, lists in dictionaries | any |
| `liquibook` | 2.0.1 | C++, multimaps, through SWIG | 3.8 and up |
| `matching-engine` | 0.1.1 | Python, linked lists under a sorted list | 3.12 and up |
| `obook` | 0.1.0 | native, by ctypes | 3.9 and up |
| `orderly-chaos` | 0.2.0 | C++, by ctypes | 3.12 and up |
| `pyorderbook` | 0.4.9 | Python, heaps of dictionaries | 3.11 and up |

Peers that were tried and differ from price-time priority as the rulebook has it:

- `cython-orderbook` 0.1.2: the fills are right over 20,000 commands, the quantity of a level is
  not: it still counts a maker that was filled by a taker of just its size. Buy 1 at 100, buy 10 at
  100, sell 1 at 100: the best bid is given as 11, and 10 are there.
- `akhil4n-orderbook` 0.1.1: the same for a maker that was filled in part. Buy 8 at 100, sell 1 at
  100: the best bid is given as 8, and 7 are there.
- `litebook` 0.0.1: a seller who crosses the spread trades at his own price, not at the maker's. Buy
  1 at 102, sell 1 at 99: one trade, at 99.

Peers that cannot be compared, as they do not say which maker was filled: `fastlob` 0.0.24,
`limit-order-book` 2.0.0.
"""
