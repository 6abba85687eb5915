"""Hypothesis profiles: `ci` is small and the same at every run, `thorough` looks for what is new."""

import os

from hypothesis import HealthCheck, settings

# Lakes on a busy machine are slow to make: no time is a fault.
settings.register_profile("patient", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("patient"), max_examples=50, derandomize=True)
settings.register_profile("thorough", settings.get_profile("patient"), max_examples=3_000, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
