"""Attacks on the model: changed inputs, and what it tells of the rows that it learnt from."""

import math

import msgspec
import numpy as np

from casemate.config import RobustnessTable
from casemate.core.types import Finding, Interval
from casemate.ml import models
from casemate.ml.own import code
from casemate.stages.assess import robustness
from casemate.stages.assess.leakage import attribute, inversion, labels, lira, membership, memorised
from casemate.stages.assess.sample import OfClasses
from casemate.stages.assess.work import Work


def measure_robustness(work: Work) -> None:
    """Evasion attacks and bounds."""
    limits = msgspec.convert(work.job["robustness"], RobustnessTable)
    found = robustness.measure(
        work.model,
        work.schema,
        work.holdout,
        work.known,
        work.options,
        limits,
        work.job["gate_eps"],
        work.seed,
        work.channel.progress,
    )
    work.found["robustness"] = found
    if found.get("inconclusive"):
        work.inconclusive.append(f"robustness: {found['inconclusive']}")
    if (
        found.get("curve")
        and "certified_accuracy" not in found["curve"][0]
        and not work.schema.regression
    ):
        work.inconclusive.append(
            "certification: no method gives a bound for this model (linear models and trees have"
            " one)"
        )
    work.findings += robustness.findings(found)


def measure_tradeoff(work: Work) -> None:
    """What hardening cost and brought: the same figures of the same model without it."""
    plain = work.plain
    if plain is None:
        return
    # only its curve is compared
    limits = msgspec.structs.replace(
        msgspec.convert(work.job["robustness"], RobustnessTable), smoothing=0.0
    )
    found = robustness.measure(
        plain,
        work.schema,
        work.holdout,
        work.members,
        work.options,
        limits,
        work.job["gate_eps"],
        work.seed,
        work.channel.progress,
    )
    accuracy = float(
        np.mean(np.asarray(plain.predict(work.holdout.frame)[0]).ravel() == work.holdout.target)
    )
    work.found["tradeoff"] = {
        "plain_accuracy": accuracy,
        "plain_curve": found["curve"],
        "plain_clean_accuracy": found.get("clean_accuracy"),
    }


def measure_membership(work: Work) -> None:
    """Loss threshold, and labels alone."""
    work.found["membership"] = membership.measure(
        work.model, work.members, work.holdout, work.options, work.seed
    )
    work.figures["membership_tpr_at_1_fpr"] = msgspec.convert(
        work.found["membership"]["tpr_at_1_fpr_interval"], Interval
    )
    if not work.schema.regression:
        found = labels.measure(work.model, work.members, work.holdout, work.options, work.seed)
        work.found.setdefault("leakage", {})["labels"] = found
        work.figures["label_only_auc"] = msgspec.convert(found["auc"], Interval)


def measure_lira(work: Work) -> None:
    """Likelihood ratio with shadow models; also what the promised epsilon allows."""
    if not work.options.shadows:
        raise membership.TooFewRows("[assess] shadows is 0")
    found = lira.measure(
        work.model,
        work.learner,
        work.members,
        work.holdout,
        work.options,
        work.seed,
        work.channel.progress,
        work.ask,
    )
    work.found.setdefault("leakage", {})["lira"] = found
    for name, key in (
        ("lira_auc", "auc"),
        ("lira_tpr_at_1_fpr", "tpr_at_1_fpr"),
        ("memorised_share", "memorised_share"),
    ):
        if key in found:
            work.figures[name] = msgspec.convert(found[key], Interval)
    promised = work.job["promised"]
    if promised:
        members, others = (
            msgspec.convert(found["above_threshold"][side], Interval)
            for side in ("members", "others")
        )
        if members.low > math.exp(promised["epsilon"]) * others.high + promised["delta"]:
            shares = (
                f"{members.value:.3f} of the members lie above a threshold that {others.value:.3f}"
                " of the others do"
            )
            text = f"membership leaks more than epsilon {promised['epsilon']:g} allows: {shares}"
            work.findings.append(
                Finding(id="privacy.bound-broken", severity="high", confidence="high", message=text)
            )


def measure_attribute(work: Work) -> None:
    """Sensitive values of known people."""
    found = attribute.measure(
        work.model,
        work.schema,
        work.members,
        work.holdout,
        work.options,
        work.job["protected"],
        work.seed,
    )
    work.found.setdefault("leakage", {})["attribute"] = found
    work.figures["attribute_advantage"] = msgspec.convert(found["advantage"], Interval)


def measure_inversion(work: Work) -> None:
    """Typical members, where the features are an image."""
    if work.schema.regression:
        raise OfClasses("quantities have no typical member")
    if work.job["robustness"]["unit"] != "range":
        raise inversion.NoImage(
            'the features are no image ([robustness] unit = "range" says that they are)'
        )
    found = inversion.measure(work.model, work.schema, work.members)
    work.found.setdefault("leakage", {})["inversion"] = found
    work.figures["inversion_correlation"] = msgspec.convert(found["correlation"], Interval)


def measure_memorised(work: Work) -> None:
    """Rows inside the model file, and near-copies across the split."""
    if code.among(work.files):  # nothing of such a model is constructed here
        work.findings += memorised.listed(work.files[models.SKOPS])
    else:
        work.findings += memorised.findings(getattr(work.model, "estimator", None))
    numbers = [column.name for column in work.schema.features if column.type == "number"]
    work.found.setdefault("leakage", {})["nearest"] = memorised.nearest(
        work.members.take(work.options.membership_rows, work.seed),
        work.holdout.take(work.options.membership_rows, work.seed),
        numbers,
    )
