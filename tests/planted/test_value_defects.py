"""The table of mistakes of value-based code keeps step with the library, as in test_planted.py."""

import pytest

from .defects import DEFECTS, ROOT
from .value_defects import VALUE_DEFECTS


@pytest.mark.parametrize("defect", VALUE_DEFECTS, ids=lambda defect: defect.name)
def test_every_edit_applies_once_and_compiles(defect):
    source = (ROOT / defect.file).read_text(encoding="utf-8")
    planted = defect.planted(source)
    assert planted != source
    compile(planted, defect.file, "exec")
    assert all((ROOT / test.split("::")[0]).exists() for test in defect.tests)


def test_no_name_comes_twice():
    names = [defect.name for defect in DEFECTS + VALUE_DEFECTS]
    assert len(set(names)) == len(names)
