"""What became of models that were made of an erased person's rows, and whether those rows can be
told from others by a model that remains.
"""

from collections.abc import Sequence

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import structs

from casemate.controls.keys import tables
from casemate.controls.keys.identifiers import PSEUDONYM
from casemate.controls.privacy.consents import Usable
from casemate.core.errors import Error
from casemate.core.files import shared_lock
from casemate.core.types import SealedDataset, TrainedModel
from casemate.operations.rights.affected import Affected, Made
from casemate.respond.requests.states import Asked, Decided, ModelOutcome
from casemate.stages.release.registry import Registered
from casemate.wiring import Wiring

MOST = 100
"""Models, and versions that are not known, in one entry of the log."""
CHANCE = 0.5


def outcomes(
    project: Wiring, asked: Asked, found: Sequence[Affected]
) -> tuple[tuple[ModelOutcome, ...], list[str]]:
    """(what became of each model, what is still to be done in words).

    Args:
        project: whose.
        asked: the request.
        found: what was made of the person's data, under each identifier of theirs.
    """
    done, waiting = [], []
    made = {one.model: one for each in found for one in each.models}
    for reference, one in sorted(made.items()):
        decided = asked.models.get(reference)
        outcome = (
            "nothing is decided about it"
            if decided is None
            else _outcome(project, one, decided, found)
        )
        if isinstance(outcome, str):
            waiting.append(f"{reference}: {outcome}")
        else:
            done.append(outcome)
    if waiting:
        return (), waiting
    # a sandbox each, so only once nothing else is to be done
    done = [_tried(project, one, found) for one in done[:MOST]]
    waiting = [
        f"{one.model}: the erased rows are told from others by {one.instead or one.model} (AUC"
        f" {one.auc:.2f}, at least {one.low:.2f}): train it anew, or withdraw it"
        for one in done
        if one.membership == "told apart"
    ]
    return tuple(done), waiting


def _outcome(
    project: Wiring, made: Made, decided: Decided, found: Sequence[Affected]
) -> ModelOutcome | str:
    """What became of a model, or what is still to be done."""
    parts = [part for part in made.parts if part != "former"]
    told = ModelOutcome(
        model=made.model, how=decided.how, reason=decided.text, membership="not measured"
    )
    if decided.how == "keep":
        epsilon = _epsilon(project, made)
        if epsilon is None:
            return (
                "it is to be kept and was not trained under differential privacy: decide retrain or"
                " withdraw"
            )
        return msgspec.structs.replace(told, epsilon=epsilon)
    if parts:
        return f"it is still served ({', '.join(parts)}): promote another version"
    if decided.how == "withdraw":
        return told
    newer = _newer(project, made, found)
    if newer is None:
        return "no newer version was trained without them: casemate run"
    told = msgspec.structs.replace(told, instead=newer.reference)
    return _with_trees(project, told, newer) if decided.how == "unlearn" else told


def _with_trees(project: Wiring, told: ModelOutcome, newer: Registered) -> ModelOutcome:
    """With how many trees of an unlearnt model were taken over, and how many grown anew; without
    where the new one was offered another model's.
    """
    trained = project.engine.record(newer.release.lineage.run, "train", TrainedModel)
    made = None if trained is None else trained.unlearning
    if made is None or made.kind != "forest" or made.former != told.model:
        return told
    return msgspec.structs.replace(told, grown=made.trees - made.kept, taken_over=made.kept)


def _epsilon(project: Wiring, made: Made) -> float | None:
    record = project.engine.record(made.run, "train", TrainedModel)
    spent = None if record is None or not record.privacy else record.privacy.get("epsilon")
    return float(spent) if spent is not None else None


def _newer(project: Wiring, made: Made, found: Sequence[Affected]) -> Registered | None:
    """The newest version that passed and was made of a data set without rows of the person."""
    name, _, version = made.model.partition("@")
    theirs = {(one.dataset, one.version) for each in found for one in each.versions}
    known = project.identifiers.rows.known()
    candidates = [
        one
        for one in project.registry.list()
        if one.release.model == name
        and one.release.model_version > int(version)
        and one.release.verdict.outcome == "passed"
        and (of := (one.release.lineage.dataset, one.release.lineage.dataset_version)) in known
        and of not in theirs
    ]
    return max(candidates, key=lambda one: one.release.model_version, default=None)


def _tried(project: Wiring, told: ModelOutcome, found: Sequence[Affected]) -> ModelOutcome:
    """With what the membership test of their rows came to against the model that remains, if one
    does; where it cannot be made, or rows are too few to tell, it is inconclusive and nothing is
    claimed.
    """
    if told.how == "withdraw":
        return told
    model = project.registry.get(told.instead or told.model)
    inconclusive = msgspec.structs.replace(told, membership="inconclusive")
    try:
        rows, interval = _membership(project, model, found)
    except (Error, OSError, KeyError, ValueError):
        return inconclusive
    if interval is None:
        return msgspec.structs.replace(inconclusive, rows=rows)
    return msgspec.structs.replace(
        told,
        membership="told apart" if interval["low"] > CHANCE else "at chance",
        rows=rows,
        auc=interval["value"],
        low=interval["low"],
        high=interval["high"],
    )


def _membership(
    project: Wiring, model: Registered, found: Sequence[Affected]
) -> tuple[int, dict[str, float] | None]:
    """(rows tried, the area of the loss-threshold attack with its interval): the erased rows stand
    where rows that were trained on would, against the model's own hold-out.
    """
    from casemate.core.sandbox.run import Worker
    from casemate.ml.frame import GROUP
    from casemate.operations.contexts import context_of
    from casemate.stages.assess import stage
    from casemate.stages.assess.leakage.membership import LEAST_ROWS
    from casemate.supply.processes import SandboxPool
    from casemate.supply.rows import SealedRows

    run = model.release.lineage.run
    dataset = project.engine.record(run, "data", SealedDataset)
    trained = project.engine.record(run, "train", TrainedModel)
    if dataset is None or trained is None:
        return 0, None
    context = context_of(project, Usable())
    rows = SealedRows(context, dataset)
    holdout = rows.holdout
    erased = _rows_of(project, holdout.column_names, found)
    if erased is None or erased.num_rows < LEAST_ROWS:
        return 0 if erased is None else erased.num_rows, None
    with (
        shared_lock(project.state / "lock", lambda: None),
        Worker(SandboxPool.JOBS["assess"], project.config.train.threads) as worker,
    ):
        tools = context.assess_tools(worker, only=("membership",))
        # every row for itself: groups of two tables are numbered apart
        ours = holdout.drop_columns([GROUP]) if GROUP in holdout.column_names else holdout
        parts = stage.Parts(ours, erased.select(ours.column_names), ours.slice(0, 0))
        # these rows, whatever other owners of the model say of theirs
        alone = structs.replace(trained, federated=None)
        measured = stage.measure(tools, dataset.schema, alone, parts, {})
    return erased.num_rows, measured.membership.get("auc")


def _rows_of(project: Wiring, columns: Sequence[str], found: Sequence[Affected]) -> pa.Table | None:
    """The person's rows in the newest version that has any, features and targets."""
    from casemate.ml.frame import GROUP, WEIGHT

    theirs = {
        (one.dataset, one.version): bytes.fromhex(each.subject)
        for each in found
        for one in each.versions
    }
    records = (
        project.engine.record(run.id, "data", SealedDataset) for run in project.engine.runs()
    )
    newest = next((one for one in records if one and (one.name, one.version) in theirs), None)
    if newest is None:
        return None
    names = [name for name in columns if name not in (GROUP, WEIGHT)]
    folder = project.state / "datasets" / newest.name / newest.version
    who = pa.array([bytes.fromhex(each.subject) for each in found], pa.binary(32))
    keys, verifier, wanted = project.provider, project.signer.verifier, [*names, PSEUDONYM]
    pieces = [
        piece.filter(pc.is_in(piece[PSEUDONYM], who)).select(names)
        for piece in tables.scan_all(folder, keys, verifier, wanted)
    ]
    return pa.Table.from_batches(pieces)
