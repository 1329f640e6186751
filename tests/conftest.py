"""One Hypothesis profile for all tests, Ctrl-C, and what `test_house.py` measured, at the end of the run."""

import signal

import pytest
from hypothesis import settings

settings.register_profile("scratchpg", deadline=None, derandomize=True, max_examples=25)  # the same in every run
settings.load_profile("scratchpg")

# A job in the background of a shell script ignores Ctrl-C, and so would the processes that the tests start and stop
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

MEASURED = {}  # what to print, by its name


@pytest.fixture
def measured():
    """A dictionary to write into what is to be printed at the end."""
    return MEASURED


def pytest_terminal_summary(terminalreporter):
    if MEASURED:
        terminalreporter.section("the house, measured")
        for name, value in MEASURED.items():
            terminalreporter.line(f"{name:54} {value}")
