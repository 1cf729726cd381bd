"""The audit trail: what happened, for people. It is derived from the log, and nothing needs it.

Reading order: `../audit_event.py` (what a line says), `trail` (lines in a file, chained, read and
verified), `../audit_logger.py` (keeps the file complete), `follower` (the program that does so
beside a live engine), `process` (the engine's handle on that program). It reads the log like any
other reader. Used from outside: `AuditProcess`, `AuditLogger`, what `trail` offers.
"""
