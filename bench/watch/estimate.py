"""Performance without labels, beside NannyML's CBPE on the same chunks where it is installed.

CASEMATE_NANNYML=PYTHON python bench/watch/estimate.py

PYTHON is that of an environment with nannyml 0.13.1, whose package holds the car loans. Without it,
these and its figures are left out, visibly.
"""

import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd

from casemate.watch.estimate import Estimate, estimate

CASES = Path(__file__).parents[3] / "shared" / "cases" / "datasets" / "nannyml"
PEER = os.environ.get("CASEMATE_NANNYML", "")
SHOWN = ("roc_auc", "accuracy", "f1")
CALIFORNIA = [
    str(CASES / f"california_housing_{name}.csv")
    for name in ("reference", "analysis", "analysis_gt")
]


def peer(*words: str) -> dict[str, dict[str, list[float]]]:
    """What NannyML says, by figure; nothing where it is not installed."""
    if not PEER:
        return {}
    script = Path(__file__).parent / "nannyml_cbpe.py"
    done = subprocess.run(
        [PEER, str(script), *words], capture_output=True, text=True, timeout=300, check=True
    )
    return dict(json.loads(done.stdout))


def loans() -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """NannyML's synthetic car loans from its package."""
    if not PEER:
        return None
    code = "import importlib.util as u; print(u.find_spec('nannyml').submodule_search_locations[0])"
    done = subprocess.run([PEER, "-c", code], capture_output=True, text=True, check=True)
    folder = Path(done.stdout.strip()) / "datasets" / "data"
    reference, current, targets = (
        pd.read_csv(folder / f"synthetic_car_loan_{name}.csv")
        for name in ("reference", "analysis", "analysis_target")
    )
    return reference, current.merge(targets, on="id")


def compare(name: str, said: Estimate, other: dict[str, dict[str, list[float]]]) -> None:
    """Print the distance of estimated and realised figures, ours and the other's."""
    for figure in SHOWN:
        found = [next(one for one in chunk.figures if one.name == figure) for chunk in said.chunks]
        realised = np.array([one.realised for one in found])
        errors = {
            "CBPE": np.array([one.estimated.value for one in found]) - realised,
            "PAPE": np.array([(one.moved or one.estimated).value for one in found]) - realised,
        }
        if other:
            theirs = other[figure]
            both = np.array(theirs["estimated"]) - np.array(theirs["realised"])
            errors["NannyML"] = both[: len(found)]
        for who, error in errors.items():
            print(
                f"{name} {figure} {who}: mean {np.abs(error).mean():.5f}"
                f" max {np.abs(error).max():.5f}  {np.round(error, 4).tolist()}"
            )
    changed = [bool(chunk.text) for chunk in said.chunks]
    print(f"{name}: relation said to have changed: {changed}")


def main() -> None:
    """Print every figure."""
    both = loans()
    if both is None:
        print("car loans and NannyML: skipped, CASEMATE_NANNYML names no environment with nannyml")
    else:
        start = time.perf_counter()
        columns = ["id", "timestamp"]
        said = estimate(
            *(rows.drop(columns=columns) for rows in both),
            target="repaid",
            score="y_pred_proba",
            prediction="y_pred",
            chunk=5000,
        )
        print(f"car loans, 10 chunks of 5000: {time.perf_counter() - start:.1f} s")
        compare("car loans", said, peer("loan"))
    reference, current, targets = (pd.read_csv(path) for path in CALIFORNIA)
    columns = ["id", "timestamp"]
    said = estimate(
        reference.drop(columns=columns),
        current.merge(targets, on="id").drop(columns=columns),
        target="clf_target",
        score="y_pred_proba",
        prediction="y_pred",
        chunk=len(current) // 5,
    )
    compare("California", said, peer("california", *CALIFORNIA))


if __name__ == "__main__":
    main()
