"""V2's engine, floor by floor; each imports only what is above it in this list.

    market   events, trade, order_book; market/    the rules: commands in, events out
    log      event_log, wal_event_store; log/      what keeps the commands, and recovery from it
    audit    audit_event, audit_logger; audit/     the trail for people, derived from the log
    engine   receipt, subscribers, sequencer,      the queue, the one writer, its promises
             event_engine

Below them are `errors` and `models`; `cli` and `main` are above. `tests/test_floors.py` holds the
order. Everything public can be imported from the package's root.
"""
