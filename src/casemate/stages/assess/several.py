"""Several labels a row: everything that is measured of two classes is measured of each label, the
worst one counts, and a few figures are about all labels of a row together.

A gate on the worst label needs no wider interval: a model whose label k breaks a limit passes only
if the interval of label k is wrong, which is as rare as for one label (Berger, Multiparameter
hypothesis testing and acceptance sampling, Technometrics 24, 1982).
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
from msgspec import structs
from sklearn.metrics import f1_score

from casemate.config import worst
from casemate.core.types import Assessment, Finding, Interval, Schema
from casemate.stages.assess import bootstrap, intervals
from casemate.stages.assess.sample import Sample
from casemate.stages.assess.work import Work

Array = np.ndarray[Any, Any]
WHOLE = ("shift", "parity", "profile")
"""Measurements that ask about rows or the whole model; all others are made of each label."""


def works(work: Work) -> Iterator[Work]:
    """The assessment of each label: its model, and the same rows with this label as the target."""
    for place, schema in enumerate(work.schema.views):
        job = work.job | {"cv": {"scores": [], "metric": work.job["cv"]["metric"]}}
        one = Work(job, work.channel, lines=work.lines)
        one.schema, one.model = schema, work.model.views[place]  # type: ignore[attr-defined] # `LabelsModel` has them
        one.samples = [_of_label(sample, place) for sample in work.samples]
        yield one


def _of_label(sample: Sample, place: int) -> Sample:
    return Sample(sample.frame, sample.target[:, place], sample.groups, sample.weights)


def measure_quality(work: Work) -> None:
    """Figures of all labels of a row together."""
    labels, _ = work.model.predict(work.holdout.frame)
    found = figures(work.holdout, labels, work.options.bootstrap, work.seed)
    work.found["metrics"] = {name: msgspec.to_builtins(value) for name, value in found.items()}


def figures(holdout: Sample, labels: Array, most: int, seed: int) -> dict[str, Interval]:
    """Hamming loss (share of single labels that are wrong), subset accuracy (share of rows with
    every label right), and F1 over all labels at once (micro) and as the mean of each label's
    (macro).

    Args:
        holdout: its target is labels, [n, m].
        labels: what the model says, [n, m].
        most: resamples at most.
        seed: of the resamples.
    """
    target, groups, weights = holdout.target, holdout.groups, holdout.weights
    wrong = (target != labels).mean(axis=1)
    each = np.ones(len(target)) if weights is None else weights
    arrays = [target, labels, each]

    def f1(average: str) -> Callable[..., float]:
        return lambda y, c, w: float(
            f1_score(y, c, average=average, sample_weight=w, zero_division=0.0)
        )

    return {
        "hamming_loss": intervals.mean(wrong, groups=groups, weights=weights, limits=(0.0, 1.0)),
        "subset_accuracy": intervals.share_of(wrong == 0, groups, weights=weights),
        "micro_f1": bootstrap.interval(f1("micro"), arrays, most, seed, groups),
        "macro_f1": bootstrap.interval(f1("macro"), arrays, most, seed, groups),
    }


def together(whole: Assessment, by_label: dict[str, Assessment]) -> Assessment:
    """One assessment of all labels: the worst label's figures, what was found of any of them, and
    each label's own.
    """
    each = list(by_label.values())
    return structs.replace(
        whole,
        metrics=whole.metrics | shared([one.metrics for one in each]),
        figures=whole.figures | shared([one.figures for one in each]),
        compared=shared([one.compared for one in each]),
        with_dropped=shared([one.with_dropped for one in each]),
        previous=next((one.previous for one in each if one.previous), ""),
        compared_rows=min(one.compared_rows for one in each),
        dropped=each[0].dropped,
        robustness=_weakest(each),
        slices=_listed(by_label, "slices", "column"),
        fairness=_listed(by_label, "fairness", "column"),
        importance=[
            structs.replace(told, feature=f"{told.feature} ({label})")
            for label, one in by_label.items()
            for told in one.importance
        ],
        behaviour=[
            structs.replace(told, name=f"{told.name} ({label})")
            for label, one in by_label.items()
            for told in one.behaviour
        ],
        findings=[*whole.findings, *_findings(by_label)],
        inconclusive=[*whole.inconclusive, *_inconclusive(by_label)],
        labels=by_label,
    )


def shared(found: list[dict[str, Interval]]) -> dict[str, Interval]:
    """The worst label's figure, where every label has one: what is not measured of one label is not
    measured.
    """
    return {
        name: worst(name, [one[name] for one in found])
        for name in found[0]
        if all(name in one for one in found)
    }


def _listed(by_label: dict[str, Assessment], part: str, name: str) -> list[dict[str, Any]]:
    """What is said of each label in one list, with the label behind the `name`."""
    return [
        {**told, name: f"{told[name]} ({label})"}
        for label, one in by_label.items()
        for told in getattr(one, part)
    ]


def _weakest(each: list[Assessment]) -> dict[str, Any]:
    """The attacks on the label whose answers stay right least often; nothing where a label could
    not be attacked.
    """
    curves = [one.robustness.get("curve", []) for one in each]
    if not all(curves) or any("inconclusive" in one.robustness for one in each):
        return {}
    sums = [sum(point["robust_accuracy"] for point in curve) for curve in curves]
    return each[int(np.argmin(sums))].robustness


def _findings(by_label: dict[str, Assessment]) -> list[Finding]:
    told: dict[tuple[str, str], list[str]] = {}
    first: dict[tuple[str, str], Finding] = {}
    for name, one in by_label.items():
        for finding in one.findings:
            key = finding.id, finding.message
            told.setdefault(key, []).append(name)
            first.setdefault(key, finding)
    return [
        structs.replace(finding, message=f"{_whose(told[key], by_label)}{finding.message}")
        for key, finding in first.items()
    ]


def _inconclusive(by_label: dict[str, Assessment]) -> list[str]:
    told: dict[str, list[str]] = {}
    for name, one in by_label.items():
        for text in one.inconclusive:
            told.setdefault(text, []).append(name)
    made = []
    for text, names in told.items():
        source, _, why = text.partition(": ")
        made.append(f"{source}: {_whose(names, by_label)}{why}"[:500])
    return made


def _whose(names: list[str], by_label: dict[str, Assessment]) -> str:
    """The labels that something is said of; nothing where it is said of all."""
    if len(names) == len(by_label):
        return ""
    return f"label{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}: "


def previous_of(other: Any, schema: Schema, before: Schema) -> tuple[Any, Schema]:
    """The model that passed last as it answers for the one label of `schema`, and its schema; the
    model itself where it knows no such label.
    """
    if schema.target not in before.targets or not before.labels:
        return other, before
    return other.views[before.targets.index(schema.target)], before.one(schema.target)
