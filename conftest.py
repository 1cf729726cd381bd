"""What the examples in docstrings can be collected from."""

from importlib.util import find_spec

WITH_THE_EXTRA = [
    "v2_event_driven_engine/cluster",
    *(
        f"v2_event_driven_engine/tests/cluster/{module}.py"
        for module in ("load", "local_cluster", "real_cluster")
    ),
    "benchmarks/cluster_load.py",
]
"""What cannot be imported, all or some of it, without the extra `cluster`."""
collect_ignore = [] if find_spec("nats") else WITH_THE_EXTRA
