"""Measurements of both versions, and of other people's engines beside them.

    python -m benchmarks --help

What is measured, one module each:

| module | what it asks |
|---|---|
| `matching` | operations a second in memory, all events made: every engine, the same operations |
| `anatomy` | where V2's time goes, and why it is not faster still |
| `durable` | what a log costs that is synced before anything is answered; what the audit costs |
| `sustained` | does the audit fall behind under load that does not end? does memory grow? |
| `latency` | how long a client waits, by clients and by offered rate |
| `recovery` | commands replayed a second; bytes of log a command |
| `growth` | does an operation cost more in a large book? bytes of memory an order |
| `threads` | what removing V1's lock buys under the interpreter's own lock, and what it does not |
| `end_to_end` | `main.py` as a program, parsing included |
| `cluster` | the replicated log: by replicas, by partitions, one command at a time |

`workload` makes the operations, `engines` has the loop of each engine, `peers` other people's
engines, `measure` the clock, `findings` what is handed back, `report` the page.

How to read it: a figure is a median with the smallest and the largest. What is compared was
measured in turns in one process. Trust a ratio more than a rate, and neither more than its spread.

What is not fair, and to whom:

* to V2's engine: one process drives it and shares the interpreter's lock with it;
* to `liquibook` and `orderly-chaos`: they are C++, and their bindings to Python are what is
  measured; used from C++ they are far faster than anything here;
* to V1 and V2: the peers but `matching-engine` make no event for an order that only rests or is
  canceled, and check less;
* to `matching-engine`: its clients are asyncio tasks, as its gateway has them; V2's are a window of
  receipts in one thread, or threads.
"""
