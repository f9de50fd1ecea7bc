"""What a run came to, in sentences: for the card, the terminal and notebooks; and what to do next
when a model was not signed.
"""

from casemate.config import Config
from casemate.config.figures import SCAN
from casemate.core import figures as vocabulary
from casemate.core.types import (
    Assessment,
    GateResult,
    Interval,
    SealedDataset,
    TrainedModel,
    Verdict,
    number_text,
)
from casemate.stages.release import private, weaknesses
from casemate.stages.release.gate import MEMBERSHIP, figures

LEVEL = 0.95
"""Of every interval on the card."""
MOST = 5
"""Things to do that are named at once."""
UNDECIDED = (
    "keep more rows back ([train] test_share), collect more, or set a limit that these rows can"
    " decide"
)
TO_DO = {
    vocabulary.GOOD.title: (
        "other features, another estimator or a wider search in train.py; a lower limit if the"
        " purpose bears it"
    ),
    vocabulary.SURE.title: (
        "a calibrated estimator (CalibratedClassifierCV) or more regularisation in train.py"
    ),
    vocabulary.WHOM.title: (
        "the card shows which group; look at its rows and how they came to be, weigh or collect"
        " them"
    ),
    vocabulary.ROBUST.title: '[train] mode = "adversarial" trains against such changes',
    vocabulary.PRIVATE.title: (
        "a model that learns less of each row (smaller trees, more regularisation), or [train] mode"
        ' = "private"'
    ),
    vocabulary.DATA.title: "look at the source of the table; `casemate check` shows it again",
}
"""Group of figures -> what helps where a gate on one of them is refused."""
WORDS = {
    "passed": "Signed",
    "refused": "Refused",
    "inconclusive": "Not signed, because it could not be decided",
}


def of(
    config: Config,
    dataset: SealedDataset,
    model: TrainedModel,
    assessment: Assessment,
    verdict: Verdict,
    attempt: int = 1,
) -> list[str]:
    """`sentences` from a run's own records: of private training without what training rows
    decide.
    """
    if model.mode == "private":
        dataset, assessment = private.told(dataset, assessment)
    return sentences(config, dataset, model, assessment, verdict, attempt)


def sentences(
    config: Config,
    dataset: SealedDataset,
    model: TrainedModel,
    assessment: Assessment,
    verdict: Verdict,
    attempt: int = 1,
) -> list[str]:
    """The answers to what everybody asks first; each only as far as it was measured. `attempt`
    counts the project's models.
    """
    found = figures(dataset, model, assessment)
    told = [
        _outcome(config, verdict),
        _quality(found, assessment),
        _calibration(found),
        _groups(found, assessment),
        _attacks(assessment),
        _leaks(found, model, config),
        _data(dataset, model),
        _unmeasured(assessment),
        _looks(attempt),
    ]
    return [text for text in told if text]


def advice(verdict: Verdict, what: list[str] | None = None) -> list[str]:
    """What to do about gates that do not hold and that nobody waived: one sentence each, the
    refused ones first.

    Args:
        verdict: the gates' answer.
        what: what to do about findings of high severity, as `remedies` says it.
    """
    blocking = [gate for gate in verdict.gates if gate.outcome != "passed" and not gate.waiver]
    blocking.sort(key=lambda gate: gate.outcome != "refused")
    told = [
        text
        for gate in blocking
        for text in (what if gate.gate == "findings" and what else [_advice(gate)])
    ]
    return list(dict.fromkeys(told))[: max(MOST, len(what or []))]


def _outcome(config: Config, verdict: Verdict) -> str:
    blocking = [gate.gate for gate in verdict.gates if gate.outcome != "passed" and not gate.waiver]
    waived = [gate.gate for gate in verdict.gates if gate.waiver]
    text = f"{WORDS[verdict.outcome]}, for the purpose {config.project.purpose!r}"
    if blocking:
        gates = [name for name in blocking if name != "findings"]
        told = (
            [
                (
                    f"{'gate' if len(gates) == 1 else 'gates'} {_list(gates)}"
                    f" {'does' if len(gates) == 1 else 'do'} not hold"
                )
            ]
            if gates
            else []
        )
        told += ["something was found that refuses a model"] if "findings" in blocking else []
        return f"{text}: {' and '.join(told)}."
    count = len(verdict.gates) - len(waived)
    return f"{text}: {'all ' if not waived else ''}{count} gates hold" + (
        f", {_list(waived)} waived." if waived else "."
    )


def _quality(found: dict[str, Interval], assessment: Assessment) -> str:
    if "r2" in found:
        text = f"It predicts {_percent(found['r2'])} of the target's variation"
        return (
            f"{text}; its answers are off by {number_text(found['mae'].value)} on average."
            if "mae" in found
            else f"{text}."
        )
    if "roc_auc" not in found:
        return ""
    if assessment.labels:
        return _labels(found, assessment)
    text = f"It ranks a positive row above a negative one in {_percent(found['roc_auc'])} of cases"
    if "accuracy" in found:
        text += f" and gives the right answer in {found['accuracy'].value:.1%}"
    return (
        f"{text} of {assessment.rows} rows that were kept"
        f" back{', each with its weight' if assessment.worth else ''}."
    )


def _labels(found: dict[str, Interval], assessment: Assessment) -> str:
    """Of several labels the worst one, and how often all of a row are right."""
    name = next(one for one in assessment.labels if found[f"{one}.roc_auc"] == found["roc_auc"])
    text = (
        f"It says which of {len(assessment.labels)} labels each row carries; of the worst one,"
        f" {name!r}, it ranks a row that carries it above one that does not in"
        f" {_percent(found['roc_auc'])} of cases"
    )
    if "subset_accuracy" in found:
        text += f", and every label is right in {found['subset_accuracy'].value:.1%}"
    return (
        f"{text} of {assessment.rows} rows that were kept back. Figures without a label's name are"
        " those of the worst label."
    )


def _calibration(found: dict[str, Interval]) -> str:
    error = found.get("calibration_error")
    if error is None:
        return ""
    if f"{error.value:.3f}" == "0.000" and error.high > error.value:
        return (
            "No miscalibration of its probabilities is visible; they may be off by up to"
            f" {error.high:.3f} (root mean square)."
        )
    return f"Its probabilities are off by {error.value:.3f} (root mean square)."


def _groups(found: dict[str, Interval], assessment: Assessment) -> str:
    gap = next(
        (
            found[name]
            for name in ("demographic_parity_difference", "mean_prediction_difference")
            if name in found
        ),
        None,
    )
    if gap is None:
        return ""
    columns = sorted({str(group["column"]) for group in assessment.fairness})
    unit = " deviations of the target" if "mean_prediction_difference" in found else ""
    what = "mean predictions" if unit else "shares of positive answers"
    return (
        f"Between the groups of {_list(columns)} the {what} differ by up to"
        f" {number_text(gap.value)}{unit}."
    )


def _attacks(assessment: Assessment) -> str:
    points = assessment.robustness.get("curve", [])
    if not points or "inconclusive" in assessment.robustness:
        return ""
    point = points[len(points) // 2]
    unit = assessment.robustness["unit"]
    text = (
        f"Attacked with changes of {point['eps']:g} ({unit}), {point['robust_accuracy']:.1%} of its"
        " answers stay right"
    )
    certified = point.get("certified_accuracy")
    return text + (f"; for {certified:.1%} that is proven." if certified is not None else ".")


def _leaks(found: dict[str, Interval], model: TrainedModel, config: Config) -> str:
    if model.privacy:
        return (
            f"Training was differentially private: epsilon {model.privacy['epsilon']:.3g} for each"
            f" {model.privacy['unit']}."
        )
    best = max(
        (name for name in MEMBERSHIP if name in found),
        key=lambda name: found[name].value,
        default=None,
    )
    if best is None:
        return ""
    gates = [
        f"{name}, {max(found[name].value, 0.5):.1%}"
        for name in MEMBERSHIP
        if name in config.gates and name in found
    ]
    looked = (
        "no gate looks at it"
        if not gates
        else "the gate looks at it"
        if best in config.gates
        else f"the gate looks at {_list(gates)}"
    )
    text = (
        "Of a row that it learnt from and one that it did not, the strongest attack that was"
        " measured"
    )
    return (
        f"{text} ({best}) tells which is which in {max(found[best].value, 0.5):.1%} of pairs; half"
        f" is guessing; {looked}."
    )


def _data(dataset: SealedDataset, model: TrainedModel) -> str:
    if model.mode == "private":  # how many there are to train on is a fact about them
        return ""
    suspicious = round(dataset.figures.get("suspicious_share", 0.0) * dataset.rows)
    rows, whole = dataset.rows, dataset.whole
    counted = (
        f"The table has {rows} rows; {suspicious}"
        if whole is None
        else f"Of the table's {whole.rows} rows {rows} were drawn; {suspicious} of these"
    )
    looked = f"{counted} were under suspicion, {dataset.excluded or 'none'} left out."
    rest = f" It learnt from {model.went_on.rows} others too." if model.went_on else ""
    return looked + rest


def _unmeasured(assessment: Assessment) -> str:
    names = {
        name: why.rpartition(": ")[2]
        for name, _, why in (text.partition(": ") for text in reversed(assessment.inconclusive))
    }
    return (
        "Not measured:"
        f" {'; '.join(f'{one} ({why})' if why else one for one, why in reversed(names.items()))}."
        if names
        else ""
    )


def _looks(attempt: int) -> str:
    """What a gate's 95 % mean after so many models were judged on the same kept rows (Bonferroni's
    bound); nothing is refused for it.
    """
    if attempt < 2:
        return ""
    before = "1 model was" if attempt == 2 else f"{attempt - 1} models were"
    end = (1 - LEVEL) / 2
    text = (
        f"{before} judged here before, and the best of several looks a little better than it is:"
        " the end of an interval that counts at a gate"
    )
    if attempt * end >= 1:
        return (
            f"{text} is wrong for one model in {end:.1%} of cases, and promises nothing of the best"
            f" of {attempt}."
        )
    return (
        f"{text} is wrong in {end:.1%} of cases for one model, in up to {attempt * end:.1%} for the"
        f" best of {attempt}."
    )


def _advice(gate: GateResult) -> str:
    """One sentence: who can do what about a gate."""
    name = vocabulary.plain(gate.gate)
    if name == "gates":
        return "say in [gates] of casemate.toml what the model must reach"
    if name == "findings":
        return (
            "findings: look at them with `casemate data quarantine list`; correct the source, or"
            " release and drop rows"
        )
    if name == SCAN:
        return f"{SCAN}: {weaknesses.TO_DO}"
    if gate.value is None:
        return (
            f"{gate.gate}: make it measurable, or take its gate out; the reason says what is"
            " missing"
        )
    group = next((group for group in vocabulary.GROUPS if name in group.figures), vocabulary.DATA)
    what = UNDECIDED if gate.outcome == "inconclusive" else TO_DO[group.title]
    return (
        f"{gate.gate}: {what}; an approver may let it pass for a time: casemate model waive"
        f" {gate.gate} --until DATE --reason WHY"
    )


def _percent(figure: Interval) -> str:
    if figure.low == figure.high:
        return f"{figure.value:.1%}"
    return f"{figure.value:.1%} (95 %: {figure.low:.1%} to {figure.high:.1%})"


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
