"""The table of mistakes keeps step with the library; whether each is caught, `python -m tests.planted` finds out."""

import pytest

from .defects import ROOT
from .table import DEFECTS


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_every_edit_applies_once_and_compiles(defect):
    source = (ROOT / defect.file).read_text(encoding="utf-8")
    planted = defect.planted(source)
    assert planted != source
    compile(planted, defect.file, "exec")
    assert all((ROOT / test.split("::")[0]).exists() for test in defect.tests)


def test_an_edit_that_no_longer_applies_is_refused():
    with pytest.raises(LookupError, match="not 0 times"):
        DEFECTS[0].planted("")


def test_names_are_names():
    names = [defect.name for defect in DEFECTS]
    assert len(set(names)) == len(names) and not any(name.isdecimal() for name in names)
