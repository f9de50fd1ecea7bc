"""Behavioural tests: what must stay the same, go up or go down when one feature changes.

Source: Ribeiro, Wu, Guestrin, Singh, Beyond Accuracy: Behavioral Testing with CheckList (ACL 2020):
invariance and direction.
"""

from typing import Literal

import numpy as np

from casemate.config import BehaviourTable
from casemate.core.types import BehaviourResult, Finding, Schema
from casemate.ml.models import Model
from casemate.stages.assess.sample import Sample, spread_of

SLACK = 1e-9
"""Of probabilities or quantities: less is rounding, and breaks no test."""


DECLARED = "monotone: "
"""How tests are called that `[data.columns]` declares."""


class BadTest(ValueError):
    """A test names something that the model does not have."""


def measure(
    model: Model, schema: Schema, holdout: Sample, tests: list[BehaviourTable]
) -> list[BehaviourResult]:
    """What became of each test, in their order."""
    return [_one(model, schema, holdout, test) for test in tests]


def declared(monotone: dict[str, str], known: Sample) -> list[BehaviourTable]:
    """A test a column that is declared monotone: half a deviation more of it."""
    found = []
    for name, said in monotone.items():
        spread = float(np.nanstd(known.frame[name].to_numpy(dtype=np.float64)))
        expect: Literal["up", "down"] = "up" if said == "increasing" else "down"
        if spread > 0:
            found.append(
                BehaviourTable(
                    name=f"{DECLARED}{name}"[:200], feature=name, add=spread / 2, expect=expect
                )
            )
    return found


def findings(tests: list[BehaviourResult]) -> list[Finding]:
    """One of high severity a declared effect that the model does not keep."""
    return [
        Finding(
            id="assess.not-monotone",
            severity="high",
            confidence="high",
            message=(
                f"{test.feature!r} is declared monotone, and {test.broken} of {test.rows}"
                " answers go the other way"
            ),
            location=test.feature,
        )
        for test in tests
        if test.name.startswith(DECLARED) and test.broken
    ]


def _one(model: Model, schema: Schema, holdout: Sample, test: BehaviourTable) -> BehaviourResult:
    known = {column.name: column.type for column in schema.features}
    wanted = "number" if test.add is not None else "category"
    if known.get(test.feature) != wanted:
        raise BadTest(f"{test.name}: {test.feature!r} is no {wanted} among the features")
    if test.expect != "same" and (
        len(schema.further) if schema.regression else len(schema.classes) != 2
    ):
        raise BadTest(f"{test.name}: up and down are for binary targets, or one quantity")
    labels, before = model.predict(holdout.frame)
    unit = spread_of(holdout.target) if schema.regression else 1.0
    broken = np.zeros(len(holdout.target), dtype=bool)
    for change in [test.add] if test.to is None else test.to:
        frame = holdout.frame.copy()
        if isinstance(change, str):
            frame[test.feature] = np.array([change] * len(frame), dtype=object)
        else:
            frame[test.feature] = frame[test.feature].to_numpy(dtype=np.float64) + float(
                change or 0.0
            )
        other, after = model.predict(frame)
        moved = (np.asarray(after) - np.asarray(before)) / unit
        if test.expect == "up":
            broken |= moved[:, -1] < -SLACK
        elif test.expect == "down":
            broken |= moved[:, -1] > SLACK
        elif schema.regression:
            broken |= np.abs(moved).max(axis=1) > SLACK
        else:
            broken |= np.asarray(other).ravel() != np.asarray(labels).ravel()
    count = int(broken.sum())
    return BehaviourResult(
        name=test.name,
        feature=test.feature,
        expect=test.expect,
        rows=len(broken),
        broken=count,
        passed=count <= test.tolerate * len(broken),
    )
