"""The log and what is made from it. It knows no rule: the matcher is only called.

Reading order: `../event_log.py` (the interface), `memory` (the shortest log), `checksum`, `format`
(the bytes of the log in files), `storage` (what is asked of a file system), `reader`,
`../wal_event_store.py` (the log in files, both ends), `snapshot`, `recovery` (from a log to a
state).
Only the market is imported. Used from outside: `recover`, `Snapshots`, the two logs.
"""
