"""Runs in NannyML's own environment: what its CBPE says of the same chunks, as JSON.

python nannyml_cbpe.py SET [REFERENCE CURRENT TARGETS]

SET is `loan` (its own synthetic car loans) or `california` (the three files that are named).
"""

import json
import os
import sys

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"

import nannyml
import pandas as pd


def tables(words: list[str]) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """(reference, what came later with its targets, the target's name)."""
    if words[0] == "loan":
        reference, current, targets = nannyml.load_synthetic_car_loan_dataset()
        return reference, current.merge(targets, on="id"), "repaid"
    reference, current, targets = (pd.read_csv(path) for path in words[1:])
    return reference, current.merge(targets, on="id"), "clf_target"


def main(words: list[str]) -> None:
    """Print each chunk's estimated and realised figures."""
    reference, current, target = tables(words)
    options = {"chunk_size": 5000} if words[0] == "loan" else {"chunk_number": 5}
    shared = {
        "y_true": target,
        "y_pred": "y_pred",
        "y_pred_proba": "y_pred_proba",
        "problem_type": "classification_binary",
        "metrics": ["roc_auc", "accuracy", "f1"],
    }
    estimator = nannyml.CBPE(timestamp_column_name=None, **shared, **options).fit(reference)
    estimated = estimator.estimate(current).filter(period="analysis").to_df()
    calculator = nannyml.PerformanceCalculator(**shared, **options).fit(reference)
    realised = calculator.calculate(current).filter(period="analysis").to_df()
    print(
        json.dumps(
            {
                name: {
                    "estimated": estimated[(name, "value")].tolist(),
                    "realised": realised[(name, "value")].tolist(),
                }
                for name in shared["metrics"]
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
