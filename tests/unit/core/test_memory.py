"""Memory that is free goes back to the system."""

import sys

import numpy as np
import pytest

from casemate.core.memory import give_back


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what the process holds")
def test_free_memory_between_what_is_used_goes_back():
    pieces = [np.ones(4000) for _ in range(2000)]  # too small for mappings of their own
    kept, pieces = pieces[::50], None
    before = resident()
    give_back()
    assert before - resident() > 20 << 20
    assert len(kept) == 40
