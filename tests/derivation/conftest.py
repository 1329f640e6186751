"""Prints, at the end of a run, how closely the two sides of the equations agreed."""

from exact import MEASURED, TOLERANCE, WORST


def pytest_terminal_summary(terminalreporter):
    if not WORST:
        return
    terminalreporter.section("the derivation, executed")
    for kind, (error, test) in sorted(WORST.items()):
        terminalreporter.line(
            f"worst absolute disagreement, {kind:17} {error:.1e}  (at most {TOLERANCE[kind]:.0e})  {test}"
        )
    for name, value in MEASURED.items():
        terminalreporter.line(f"{name}: {value}")
