"""The clinical sample: Wisconsin breast cancer with made-up patients."""

import csv
import io
import re

from casemate.config import ColumnTable, DataTable
from casemate.operations.scaffold.plan import Plan

CLINICAL_NAME = "wdbc"
PATIENT_VISITS = 1.15


def clinical() -> Plan:
    """Wisconsin breast cancer (569 x 30, from scikit-learn) with made-up patient identifiers."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    names = [re.sub(r"\W+", "_", str(name)) for name in bunch.feature_names]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["patient_id", *names, "malignant"])
    for number, (values, target) in enumerate(zip(bunch.data, bunch.target, strict=True)):
        # some patients have two samples, so splits must be grouped
        patient = int(number / PATIENT_VISITS)
        writer.writerow([f"P{(patient * 7919 + 104729) % 1000003:07d}", *values, int(target == 0)])
    return Plan(
        name=CLINICAL_NAME,
        purpose="diagnosis-support",
        data=DataTable(
            source="data/wdbc.csv",
            target="malignant",
            subject="patient_id",
            columns={"patient_id": ColumnTable(column_class="identifier")},
        ),
        train="train_clinical.txt",
        # about 140 held-out rows tell an attack's AUC to .08 and a model's of .98 to .05: limits
        # that they decide whatever the key
        gates=(
            "roc_auc = { min = 0.85 }\nrobust_accuracy = { min = 0.70, eps = 0.1 }\nmembership_auc"
            " = { max = 0.75 }"
        ),
        files={"data/wdbc.csv": buffer.getvalue().encode()},
    )
