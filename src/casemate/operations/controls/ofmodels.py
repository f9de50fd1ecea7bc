"""Checks of models that answer callers, and of what they were made of."""

import json
from typing import Any

from casemate.config import QUALITY
from casemate.controls.keys import manifests
from casemate.core.sandbox import confined
from casemate.core.types import Assessment, SealedDataset, TrainedModel
from casemate.operations.approved import duties
from casemate.operations.controls.facts import Facts
from casemate.operations.controls.kinds import Seen, check, judged
from casemate.stages.release import evidence, mlbom
from casemate.stages.release.registry import Registered

NONE = Seen("not-applicable", "no model answers callers", {"models": []})
MEMBERSHIP = "membership_auc"
LEAKAGE = (MEMBERSHIP, "lira_auc", "lira_tpr")
"""Figures of which a gate limits what a model gives away of its training rows."""
SCREENS = {"label_noise": "label_noise", "outliers": "outliers"}
"""Switches of `[screen]` that must be on -> a figure that only that screen leaves."""
BOM = "mlbom.cdx.json"


def _names(models: list[Registered]) -> list[str]:
    return [one.reference for one in models]


@check(
    "models.signed",
    "Every model that answers callers carries both signatures, over every file",
    answers="approver",
    mend="casemate model rollback NAME, then casemate fsck",
)
def signed(facts: Facts) -> Seen:
    """Each file is read and compared."""
    if not facts.serving:
        return NONE
    digests = {one.reference: _verified(facts, one) for one in facts.serving}
    return judged("", f"they verify: {', '.join(digests)}", models=digests)


def _verified(facts: Facts, model: Registered) -> str:
    return facts.project.registry.verify(model.reference).digest


@check(
    "models.gated",
    "Every model that answers callers passed its gates, as its run's signed evidence says",
    answers="approver",
    mend="casemate model rollback NAME, or casemate run",
)
def gated(facts: Facts) -> Seen:
    """Gates that were waived count as long as the waiver lasts: see `models.waivers`."""
    if not facts.serving:
        return NONE
    faults, seen = [], {}
    for one in facts.serving:
        release = one.release
        folder = facts.project.state / "runs" / release.lineage.run
        said = evidence.verify(folder, facts.project.signer.verifier)
        seen[one.reference] = {"outcome": said.outcome, "gates": len(release.verdict.gates)}
        if said.outcome != "passed" or said.model != one.reference:
            faults.append(f"the evidence of {one.reference} says: {said.model} {said.outcome}")
        elif not release.verdict.gates:
            faults.append(f"{one.reference} had no gate to pass")
    return judged("; ".join(faults), f"they passed: {', '.join(seen)}", models=seen)


@check(
    "models.waivers",
    "No model answers callers on a waiver that has ended",
    answers="approver",
    mend="improve the model, or an approver waives again: casemate model waive GATE",
)
def waivers(facts: Facts) -> Seen:
    """Ends of waivers stand in the signed `model.json`."""
    if not facts.serving:
        return NONE
    cards = {one.reference: facts.project.registry.card(one.release) for one in facts.serving}
    ends = {model: card.waived for model, card in cards.items()}
    over = [f"{model}: {gate}" for model, card in cards.items() for gate in card.ended(facts.now)]
    fault = f"the waiver has ended of {', '.join(over)}" if over else ""
    count = sum(map(len, ends.values()))
    return judged(fault, f"of {count} waivers none has ended", waived=ends)


@check(
    "models.four-eyes",
    "Every model that answers callers was approved by somebody who neither trained it nor sealed"
    " its data",
    answers="approver",
    mend="somebody else who may: casemate model approve NAME --reason TEXT",
)
def four_eyes(facts: Facts) -> Seen:
    """Approvals are signed statements; each is verified."""
    if not facts.serving:
        return NONE
    faults, counts = [], {}
    for one in facts.serving:
        own = set().union(*duties(facts.project, one.release).values())
        found = facts.project.approvals.of(one.release)
        others = {word.principal for word in found if word.stage == facts.config.release.stage}
        counts[one.reference] = len(others - own)
        if not others - own:
            faults.append(f"nobody else has approved {one.reference}")
    return judged("; ".join(faults), "approved by others", approvals=counts)


@check(
    "release.approvals",
    "casemate.toml asks for an approval by somebody who did not train, before a model is served",
    answers="owner",
    mend="[release] approvals = 1 in casemate.toml",
)
def approvals(facts: Facts) -> Seen:
    """So that the next model is held to it as well."""
    table = facts.config.release
    faults = []
    if table.approvals < 1:
        faults.append("[release] approvals asks for nobody")
    if "trainer" not in table.separate:
        faults.append("[release] separate lets trainers approve their own models")
    seen: dict[str, Any] = {"approvals": table.approvals, "separate": sorted(table.separate)}
    return judged("; ".join(faults), f"{table.approvals} must approve", **seen)


@check(
    "release.gates",
    "Gates limit the quality, the robustness and the leakage of the next model",
    answers="owner",
    mend="[gates] in casemate.toml; casemate assess --explain FIGURE says what figures mean",
)
def gates(facts: Facts) -> Seen:
    """One of each kind at least; what limits fit is for people to say."""
    named = sorted(facts.config.gates)
    kinds = {
        "quality": any(name in QUALITY for name in named),
        "robustness": any(name.startswith(("robust_", "certified_")) for name in named),
        "leakage": any(name in LEAKAGE for name in named),
    }
    missing = [kind for kind, there in kinds.items() if not there]
    fault = f"no gate limits {' or '.join(missing)}" if missing else ""
    return judged(fault, f"gates on {', '.join(named)}", gates=named)


@check(
    "models.attacked",
    "Every model that answers callers was attacked under the declared limits, and the outcome is"
    " known",
    answers="scientist",
    mend="[assess] eps in casemate.toml, then casemate run",
)
def attacked(facts: Facts) -> Seen:
    """Evasion at every declared size; an attack that could change nothing has shown nothing."""
    if not facts.serving:
        return NONE
    faults, seen = [], {}
    for one in facts.serving:
        found = facts.record(one, "assess", Assessment)
        robustness = {} if found is None else found.robustness
        sizes = [point["eps"] for point in robustness.get("curve", [])]
        why = str(robustness.get("inconclusive", ""))
        seen[one.reference] = {"sizes": sizes, "inconclusive": why}
        if why or not sizes:
            faults.append(f"{one.reference}: {why or 'no attack is on record'}")
    return judged("; ".join(faults), f"they were attacked: {', '.join(seen)}", models=seen)


@check(
    "models.membership",
    "Whether somebody's row was trained on is hidden within the bound of `[gates]`, with its"
    " interval",
    answers="privacy-officer",
    mend="[gates] membership_auc in casemate.toml; private training lowers the figure",
)
def membership(facts: Facts) -> Seen:
    """The upper end of the membership attack's AUC against today's bound."""
    if not facts.serving:
        return NONE
    gate = facts.config.gates.get(MEMBERSHIP)
    if gate is None or gate.max is None:
        return judged(f"[gates] has no greatest {MEMBERSHIP}", "", bound=None)
    ends: dict[str, float | None] = {}
    for one in facts.serving:
        found = facts.record(one, "assess", Assessment)
        auc = None if found is None else found.membership.get("auc")
        ends[one.reference] = None if auc is None else auc["high"]
    unknown = [model for model, end in ends.items() if end is None]
    if unknown:
        text = f"{MEMBERSHIP} of {', '.join(unknown)} was not measured"
        return Seen("inconclusive", text, {"bound": gate.max, "high": ends})
    over = [model for model, end in ends.items() if end is not None and end > gate.max]
    fault = f"{', '.join(over)}: more than {gate.max:g} at the upper end" if over else ""
    return judged(fault, f"the upper end is at most {gate.max:g}", bound=gate.max, high=ends)


@check(
    "sandbox.in-force",
    "Training code runs confined, here and in the trainings of models that answer callers",
    answers="operator",
    mend='[sandbox] mode = "require" in casemate.toml, then casemate run',
)
def sandbox(facts: Facts) -> Seen:
    """What the configuration demands, and what each training recorded."""
    mode, faults, seen = facts.config.sandbox.mode, [], {}
    if mode != "require":
        faults.append(f'[sandbox] mode is "{mode}": code may run unconfined on a weaker machine')
    for one in facts.serving:
        found = facts.record(one, "train", TrainedModel)
        kept = [] if found is None else sorted(found.isolation)
        seen[one.reference] = kept
        if not confined(kept):
            faults.append(f"{one.reference} was trained with {', '.join(kept) or 'nothing'} only")
    return judged("; ".join(faults), "it is required, and was recorded", mode=mode, isolation=seen)


@check(
    "data.sealed",
    "The sealed tables behind models that answer callers are those that were signed",
    answers="steward",
    mend="casemate fsck, then restore a backup or casemate run",
)
def sealed(facts: Facts) -> Seen:
    """Every file of every table against its signed manifest."""
    if not facts.serving:
        return NONE
    seen = {}
    for one in facts.serving:
        lineage = one.release.lineage
        folder = facts.project.state / "datasets" / lineage.dataset / lineage.dataset_version
        said = manifests.check(folder, facts.project.signer.verifier)
        seen[f"{lineage.dataset}@{lineage.dataset_version}"] = int(said.get("rows", 0))
    return judged("", f"they are: {', '.join(seen)}", rows=seen)


@check(
    "data.screened",
    "Rows behind models that answer callers were screened for wrong labels and for planted ones",
    answers="steward",
    mend="[screen] in casemate.toml, then casemate run",
)
def screened(facts: Facts) -> Seen:
    """By the figures that only a screen which ran leaves; and the next version will be, too."""
    if not facts.serving:
        return NONE
    faults, seen = [], {}
    for one in facts.serving:
        found = facts.record(one, "data", SealedDataset)
        figures = {} if found is None else found.figures
        missing = [screen for screen, figure in SCREENS.items() if figure not in figures]
        seen[one.reference] = {figure: figures.get(figure) for figure in SCREENS.values()}
        if missing:
            faults.append(f"the rows of {one.reference} were not screened: {', '.join(missing)}")
    off = [name for name in SCREENS if not getattr(facts.config.screen, name)]
    if off:
        faults.append(f"[screen] {', '.join(off)}: off for the next model")
    return judged("; ".join(faults), f"they were: of {', '.join(seen)}", models=seen)


@check(
    "supply.bill",
    "What is installed here is what the bills of materials of models that answer callers list",
    answers="operator",
    mend="install what was measured, or casemate run",
)
def bill(facts: Facts) -> Seen:
    """Packages whose version differs, came or went since a model was measured."""
    if not facts.serving:
        return NONE
    here, seen = mlbom.environment(), {}
    for one in facts.serving:
        document = json.loads(facts.project.objects.get(one.release.files[BOM]))
        parts = document["components"]
        listed = {part["name"]: part["version"] for part in parts if part["type"] == "library"}
        seen[one.reference] = sorted(
            name for name in {*here, *listed} if here.get(name) != listed.get(name)
        )
    odd = {model: names for model, names in seen.items() if names}
    told = [f"{model}: {len(names)} ({', '.join(names[:5])})" for model, names in odd.items()]
    fault = f"packages differ from what was measured: {'; '.join(told)}" if odd else ""
    return judged(fault, f"all {len(here)} packages are", differences=seen)


CHECKS = (
    signed,
    gated,
    waivers,
    four_eyes,
    approvals,
    gates,
    attacked,
    membership,
    sandbox,
    sealed,
    screened,
    bill,
)
