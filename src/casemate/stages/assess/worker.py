"""Inside the sandbox: load the model file under the allow-list and measure it. `PARTS` is the list
of what is measured.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import onnxruntime  # noqa: F401 - loaded while the parent works
from sklearn import config_context

from casemate.core.digest import sha256
from casemate.core.errors import VerificationError
from casemate.core.sandbox.child import Channel, Watch
from casemate.core.threads import fitting
from casemate.core.types import Assessment, Finding, Interval, Schema
from casemate.ml import models
from casemate.ml.frame import worth
from casemate.ml.learn.binning import allow_empty_columns
from casemate.stages.assess import (
    baseline,
    behaviour,
    compare,
    fairness,
    faults,
    importance,
    parity,
    probes,
    quality,
    several,
    shift,
    usual,
)
from casemate.stages.assess.attacks import (
    measure_attribute,
    measure_inversion,
    measure_lira,
    measure_membership,
    measure_memorised,
    measure_robustness,
    measure_tradeoff,
)
from casemate.stages.assess.work import Work, finite

models.skops_io()  # same
allow_empty_columns()


def measure_quality(work: Work) -> None:
    """Figures with intervals, calibration, ROC, slices."""
    found = quality.measure(
        work.model, work.schema, work.holdout, work.options, work.seed, work.least, work.wishes
    )
    work.found |= found | {"metrics": finite(work, "quality", found["metrics"], "this hold-out")}
    if len(work.dropped.target):
        _measure_with_dropped(work)


def _measure_with_dropped(work: Work) -> None:
    """Figures of the hold-out as it was chosen, beside those without the rows that a person took
    out.
    """
    found = quality.measure(
        work.model,
        work.schema,
        work.holdout.joined(work.dropped),
        work.options,
        work.seed,
        work.least,
        work.wishes,
    )
    kept = finite(work, "quality", found["metrics"], "the hold-out with the rows that were dropped")
    work.found |= {"dropped": len(work.dropped.target), "with_dropped": kept}
    without = work.found["metrics"]
    moved = {name: value["value"] for name, value in kept.items() if name in without}
    outside = any(
        not without[name]["low"] <= value <= without[name]["high"] for name, value in moved.items()
    )
    figure = next((name for name in ("roc_auc", "r2") if name in moved), None)
    told = (
        f": {figure} is {without[figure]['value']:.3f} without them and {moved[figure]:.3f} with"
        " them"
        if figure
        else ""
    )
    text = f"{len(work.dropped.target)} hold-out rows were taken out by decision{told}"
    work.findings.append(
        Finding(
            id="assess.dropped",
            severity="medium" if outside else "low",
            confidence="high",
            message=text,
        )
    )


def measure_tables(work: Work) -> None:
    """The same figures on every further table."""
    found = {}
    for name, sample in zip(work.job["further"], work.samples[3:], strict=True):
        told = quality.measure(
            work.model, work.schema, sample, work.options, work.seed, work.least, work.wishes
        )
        kept = finite(work, f"table {name}", told["metrics"], "this table")
        work.figures |= {
            f"{name}.{figure}": msgspec.convert(value, Interval) for figure, value in kept.items()
        }
        found[name] = {"rows": len(sample.target), "subjects": sample.subjects, "metrics": kept}
        figure = "r2" if work.schema.regression else "roc_auc"
        ours, theirs = work.found.get("metrics", {}).get(figure), kept.get(figure)
        if ours and theirs and theirs["high"] < ours["low"] - shift.GAP:
            text = (
                f"on table {name} {figure} is {theirs['value']:.3f}, on the hold-out"
                f" {ours['value']:.3f}: the model does not carry over"
            )
            work.findings.append(
                Finding(id="assess.foreign", severity="high", confidence="high", message=text)
            )
    work.found["tables"] = found


def measure_comparison(work: Work) -> None:
    """Against the model that passed last."""
    if not work.job["previous"]:
        return
    schema = msgspec.convert(work.job["previous"]["schema"], Schema)
    before = work.job["previous"]
    # first: gates that ask for a comparison must know that there was something to compare with
    work.found["previous"] = before["reference"]
    fair = compare.unseen(work.holdout, work.unseen, before["reference"])
    other, schema = several.previous_of(work.previous, work.schema, schema)
    found, counts = compare.measure(
        work.model, other, (work.schema, schema), fair, work.options, work.seed, work.wishes
    )
    told = {name: msgspec.to_builtins(difference) for name, difference in found.items()}
    differences = finite(
        work, "comparison", told, f"the {len(fair.target)} rows that both have not seen"
    )
    work.found |= {"compared": differences, "mcnemar": counts, "compared_rows": len(fair.target)}


def measure_fairness(work: Work) -> None:
    """Compare the groups of every protected attribute."""
    if not work.job["protected"]:
        raise fairness.NoGroups("no column is declared as protected")
    found = work.model.predict(work.holdout.frame)
    figures, groups, missing = fairness.measure(
        found, work.holdout, work.schema, work.job["protected"], work.least
    )
    work.figures |= figures
    work.inconclusive += [f"fairness: {why}"[:500] for why in missing]
    work.found["fairness"] = groups


def measure_shift(work: Work) -> None:
    """Hold-out against training rows and cross-validation."""
    work.figures["shift_auc"] = shift.shift_auc(work.members, work.holdout, work.schema, work.seed)
    gap = shift.cv_gap(
        work.job["cv"]["scores"], work.job["cv"]["metric"], work.found.get("metrics", {})
    )
    if gap is not None:
        work.figures["cv_gap"] = gap
        work.findings += shift.findings(gap, work.job["cv"]["scores"], work.job["cv"]["metric"])


def measure_behaviour(work: Work) -> None:
    """The tests of `[[assess.behaviour]]`."""
    asked = work.options.behaviour
    if len(work.schema.targets) == 1:  # of several quantities training looked at each
        asked = [*asked, *behaviour.declared(work.job["monotone"], work.known)]
    found = behaviour.measure(work.model, work.schema, work.holdout, asked)
    work.found["behaviour"] = found
    work.findings += behaviour.findings(found)
    if found:
        work.figures["behaviour_failures"] = Interval.exact(
            float(sum(not test.passed for test in found))
        )


def measure_importance(work: Work) -> None:
    """Tell what each feature is worth to the model, by shuffling it."""
    if work.options.importance:
        work.found["importance"] = importance.measure(work.model, work.holdout, work.seed)


def measure_parity(work: Work) -> None:
    """An answer for every kind of row that the schema admits, and ONNX against the estimator on all
    of them.
    """
    kinds = probes.kinds(
        work.schema, work.holdout, work.known, work.job["guard"], work.seed, parity.ROWS
    )
    if work.job.get("promised"):
        kinds = [kind for kind in kinds if kind.name != probes.MEMBERS]
    answers, without = parity.answers_of(work.model, kinds, work.schema)
    for kind in kinds:
        if kind.name in without:
            work.findings.append(_unanswered(kind, without[kind.name]))
    if kinds[0].name in without:
        raise VerificationError(
            f"the model has no answer to the rows of the hold-out: {without[kinds[0].name]}"
        )
    onnx = work.files.get(models.ONNX, b"")
    compared = parity.measure(answers, work.model, onnx, work.schema, kinds)
    work.found["parity"] = compared
    if compared["equal"]:
        return
    told = parity.unequal(compared, work.schema) if onnx else "there is none"
    if models.NETWORK in work.files:
        text = f"a network is served as ONNX only, and its export does not answer alike: {told}"
        work.findings.append(
            Finding(id="model.parity", severity="high", confidence="high", message=text[:500])
        )
    elif onnx:
        work.findings.append(_unequal(told))


def _unequal(text: str) -> Finding:
    return Finding(
        id="model.parity",
        severity="low",
        confidence="high",
        message=f"the ONNX export is not used, scikit-learn will serve: {text}",
    )


def _unanswered(kind: probes.Kind, why: str) -> Finding:
    """Blocks where the schema admits such rows: callers would get an error for a row that they were
    promised an answer to.
    """
    way = (
        "train with such rows or an imputer, or correct schema.toml"
        if kind.admitted
        else "or let [serve.guard] refuse them"
    )
    text = f"the model has no answer to rows with {kind.name}, {way}: {why}"
    return Finding(
        id="model.no-answer",
        severity="high" if kind.admitted else "medium",
        confidence="high",
        message=text[:500],
    )


def measure_profile(work: Work) -> None:
    """What training rows are like, and what is watched against; of a private model nothing is told,
    because two such profiles give a person's values away.
    """
    if work.job.get("promised"):
        return
    work.found["baseline"] = baseline.measure(
        work.model, work.schema, work.members, work.holdout, work.least
    )
    found = work.model.predict(work.members.frame)[1][:, 0] if work.schema.regression else None
    work.found["profile"] = usual.measure(
        work.members.frame, work.holdout.frame, work.schema, found
    )


PARTS: dict[str, Callable[[Work], None]] = {
    "quality": measure_quality,
    "comparison": measure_comparison,
    "fairness": measure_fairness,
    "shift": measure_shift,
    "behaviour": measure_behaviour,
    "importance": measure_importance,
    "robustness": measure_robustness,
    "trade-off": measure_tradeoff,
    "membership": measure_membership,
    "lira": measure_lira,
    "attribute inference": measure_attribute,
    "inversion": measure_inversion,
    "memorised rows": measure_memorised,
    "parity": measure_parity,
    "profile": measure_profile,
}
"""Every measurement by its name; further tables are measured one by one, as `table NAME`."""


def main(job: dict[str, Any], channel: Channel, watch: Watch) -> dict[str, Any]:
    """Run every measurement; one that raises is inconclusive and does not stop the others."""
    work = Work(job, channel)
    work.set_apart(watch)
    assert work.model and work.samples  # noqa: S101 - what cannot be loaded fails the assessment as a whole
    if not work.schema.labels:
        return dict(msgspec.to_builtins(_measured(work, PARTS)))
    of_each = {name: part for name, part in PARTS.items() if name not in several.WHOLE}
    of_all = {"quality": several.measure_quality}
    whole = _measured(work, of_all | {name: PARTS[name] for name in several.WHOLE}, tables=False)
    by_label = {}
    for one in several.works(work):
        by_label[one.schema.target] = _measured(one, of_each, f"{one.schema.target}: ")
    return dict(msgspec.to_builtins(several.together(whole, by_label)))


def _measured(
    work: Work, parts: dict[str, Callable[[Work], None]], of: str = "", *, tables: bool = True
) -> Assessment:
    """What `parts` say of one target."""
    job, channel = work.job, work.channel
    wanted = job["only"] or list(parts)
    for step, (name, part) in enumerate(parts.items()):
        if name not in wanted and not (name == "quality" and "shift" in wanted):
            continue
        channel.progress(f"{of}{name}", step, len(parts))
        _attempt(work, name, part)
    if tables and job["further"] and (not job["only"] or "tables" in job["only"]):
        _attempt(work, "tables", measure_tables)
    compared = work.found.get("parity", {})
    if models.ONNX in work.files and "parity" not in work.found and "parity" in wanted:
        work.findings.append(
            _unequal(next(text for text in work.inconclusive if text.startswith("parity")))
        )
    empty: dict[str, Any] = {
        "metrics": {},
        "calibration": {},
        "roc": {},
        "slices": [],
        "robustness": {},
        "membership": {},
        "parity": {},
    }
    record: dict[str, Any] = empty | work.found
    return msgspec.convert(
        msgspec.to_builtins(
            Assessment(
                rows=len(work.holdout.target),
                subjects=work.holdout.subjects,
                worth=worth(work.holdout.weights),
                measured={name: sha256(content) for name, content in work.files.items()},
                serve_format=(
                    "onnx"
                    if compared.get("equal")
                    and (compared["faster"] or models.SKOPS not in work.files)
                    else "skops"
                ),
                findings=work.findings,
                inconclusive=work.inconclusive,
                figures=work.figures,
                **record,
            )
        ),
        Assessment,
    )


def _attempt(work: Work, name: str, part: Callable[[Work], None]) -> None:
    try:
        cells = work.members.frame.size + work.holdout.frame.size
        with config_context(assume_finite=True, skip_parameter_validation=True), fitting(cells):
            part(work)
    except Exception as error:  # noqa: BLE001 - a measurement that crashed is inconclusive and blocks its gate
        work.inconclusive.append(f"{name}: {faults.plain(error)}"[:500])
