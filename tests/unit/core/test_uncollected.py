"""What is imported quickly is what is imported otherwise."""

import subprocess
import sys

SCIPY = """
from casemate.core.imports import uncollected, undescribed
with uncollected(), undescribed():
    import scipy.stats, sklearn
from scipy._lib import _array_api, _docscrape
print(_array_api.FunctionDoc is _docscrape.FunctionDoc, gc.isenabled())
print("Compute the sample skewness" in scipy.stats.skew.__doc__)
print("array_api_strict" in scipy.stats.skew.__doc__, scipy.stats.skew([1, 2, 9]))
"""
"""In a process of its own: this one has imported scipy."""


def test_scipy_keeps_its_docstrings_but_not_the_notes_on_array_libraries() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import gc" + SCIPY], capture_output=True, text=True, check=True
    )
    whole, text, skewness = done.stdout.splitlines()
    assert whole == "True True"
    assert text == "True"
    assert skewness.startswith("False 0.66")


def test_another_scipy_is_imported_as_it_is() -> None:
    without = (
        "import gc, scipy._lib._array_api as it; del it.FunctionDoc"
        + SCIPY.split("from scipy", maxsplit=1)[0]
    )
    done = subprocess.run(
        [sys.executable, "-c", without], capture_output=True, text=True, check=False
    )
    # nothing of ours stands where scipy looks for its own
    assert "NameError: name 'FunctionDoc' is not defined" in done.stderr
