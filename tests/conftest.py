"""One Hypothesis profile for all tests: no deadline, and the same examples in every run."""

from hypothesis import settings

settings.register_profile("scratchpg", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("scratchpg")
