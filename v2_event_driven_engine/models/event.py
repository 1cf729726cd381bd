"""What every event carries. The events themselves are in `engine/events.py`."""

import msgspec


class Event(
    msgspec.Struct,
    frozen=True,
    array_like=True,
    gc=False,
    forbid_unknown_fields=True,
    tag_field="event",
    tag=0,
):
    """Something that happened. Written once, never changed.

    `sequence` is that of the command that caused it, `index` counts 0, 1, 2 … within the command,
    `timestamp_ns` is the command's (nanoseconds since 1970, UTC).

    In the log an event is the MessagePack array of its tag and its fields in the order written
    in its class: tags and the order of fields are part of the log format.
    """

    sequence: int
    index: int
    timestamp_ns: int
