"""Other people's engines as oracles: V1 and V2 against order books that share nothing with them.

The peers are those of `benchmarks.peers`. On the fragment that they all have, limit orders and
cancels, every fill (maker, price, quantity, in order), the success of every cancel and both best
levels must be equal, command by command, over dense flows. (`obook` shows only whole books; its
best levels are compared after every 200th command.)

| module | what it is for |
|---|---|
| `flow` | random commands with few prices and long queues |
| `ours` | V1 and V2 under the protocol of the peers |
| `test_peers` | the comparison; skipped for every peer that is not installed |

`nox -s peers` installs them (`[dependency-groups] peers`) and runs 100,000 commands for each;
`PEER_COMMANDS=1000000 nox -s peers` runs a million.

`benchmarks.peers` lists them all, and those that were tried and differ.
"""
