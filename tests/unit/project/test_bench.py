"""What `make bench` compares a run with does the same work."""

import shutil
import subprocess
import sys
from pathlib import Path

import casemate

BARE = Path(__file__).parents[3] / "bench" / "bare.py"


def test_the_bare_script_measures_what_a_run_measures(finished, tmp_path):
    root = shutil.copytree(finished, tmp_path / "copy")
    done = subprocess.run([sys.executable, BARE, root], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said, _, missing = done.stdout.strip().partition("; not measured: ")
    assert float(said.removeprefix("roc_auc ")) > 0.9
    own = casemate.open(root).run().assessment.inconclusive
    assert [part.partition(":")[0] for part in missing.split("; ")] == [
        part.partition(":")[0] for part in own
    ]
