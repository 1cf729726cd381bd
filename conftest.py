"""For all tests: how many examples Hypothesis tries, and which docstrings can be collected.

HYPOTHESIS_PROFILE=quick      (default) a few seconds, for every save
HYPOTHESIS_PROFILE=ci         a minute or so, for every push
HYPOTHESIS_PROFILE=thorough   as long as it takes, for a night
"""

import os
from importlib.util import find_spec

from hypothesis import HealthCheck, settings

# No example and no drawing of one is timed: a busy machine is no failure.
for profile, examples in (("quick", 40), ("ci", 400), ("thorough", 10_000)):
    settings.register_profile(
        profile,
        max_examples=examples,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

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
