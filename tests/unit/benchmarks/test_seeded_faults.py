"""The table of seeded faults: every one can still be put into the code."""

from pathlib import Path

import pytest

from benchmarks.fault_table import FAULTS, Fault

ROOT = Path(__file__).parents[3]
EVERY = [fault for faults in FAULTS.values() for fault in faults]


@pytest.mark.parametrize("fault", EVERY, ids=lambda fault: fault.name)
def test_a_fault_changes_its_file_once_and_has_tests(fault: Fault) -> None:
    text = (ROOT / fault.file).read_text(encoding="utf-8")
    faulty = fault.applied(text)
    assert faulty != text
    compile(faulty, fault.file, "exec")  # else no test would be needed to see it
    assert fault.tests and all((ROOT / test).is_file() for test in fault.tests)
    with pytest.raises(ValueError, match=f"fault {fault.name}: its old text is 0 times"):
        fault.applied("")
    assert [other.name for other in EVERY].count(fault.name) == 1
    assert len(EVERY) == 30
