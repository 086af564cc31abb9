"""For every test: how long an example takes says something about the machine, not about the code."""

import os

from hypothesis import settings

if (
    "CI" not in os.environ
):  # there hypothesis has a profile of its own, without deadlines and repeatable
    settings.register_profile("unhurried", deadline=None)
    settings.load_profile("unhurried")
