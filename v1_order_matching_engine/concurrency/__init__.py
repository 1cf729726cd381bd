"""What lets many threads call one engine: a global lock.

`locks` has the lock, which counts how often and how long threads waited for it. Only
`engine.matching_engine` takes it, and everything else runs inside it.
"""
