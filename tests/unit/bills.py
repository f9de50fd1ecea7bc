"""A bill of materials."""

import msgspec

from casemate.stages.release.bom.materials import Bill, Data, Figure, Model, Part, in_order

DIGEST = "a" * 64
OTHER = "b" * 64
BILL = Bill(
    name="wdbc",
    version="3",
    time="2026-11-30T00:17:11Z",
    revision="1",
    producer="City Clinic",
    tool="casemate 0.1.0",
    phase="build",
    models=[
        Model(
            name="wdbc",
            version="3",
            description="classification of malignant",
            licence="Apache-2.0",
            producer="City Clinic",
            time="2026-11-30T00:17:11Z",
            task="classification",
            family="scikit-learn",
            architecture="Pipeline(StandardScaler, LogisticRegression)",
            training="plain",
            files={"model.onnx": DIGEST, "model.skops": OTHER},
            parameters={"Pipeline.LogisticRegression.C": "0.1"},
            figures=[
                Figure(name="accuracy", value="0.99", low="0.95", high="0.999"),
                Figure(name="membership_auc", value="0.5"),
            ],
            inputs=["table row: 30 number"],
            outputs=["probability of each of 0, 1"],
            uses=["diagnosis-support"],
            limits=["not measured: fairness"],
            tradeoffs=["without hardening, accuracy is 0.99"],
            fairness=["equalized_odds_difference: 0.02 (0 to 0.05)"],
        )
    ],
    data=[
        Data(
            name="wdbc",
            version="31d2759212413ba3",
            description="a table of 32 columns",
            licence="CC-BY-4.0",
            digest=OTHER,
            rows=569,
            types=["1 category", "30 number"],
            sensitive="yes",
            columns=["patient_id"],
            origin="the clinic's records",
            statistics=["121 rows held out"],
        )
    ],
    parts=[
        Part(
            name="joblib",
            version="1.5",
            licence="BSD-3-Clause",
            author="Ana",
            purl="pkg:pypi/joblib@1.5",
        ),
        Part(
            name="scikit-learn",
            version="1.9",
            licence="BSD License",
            purl="pkg:pypi/scikit-learn@1.9",
            digest=DIGEST,
            needs=["joblib"],
        ),
        Part(name="CPython", version="3.11", kind="platform"),
    ],
    facts={"stage": "production", "verdict": "passed", "software": "CPython 3.11"},
)
BILL = msgspec.structs.replace(BILL, parts=sorted(BILL.parts, key=in_order))
