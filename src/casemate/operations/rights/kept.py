"""Models that must not be promoted, because of whose rows they were made of."""

from casemate.core.digest import sha256_record
from casemate.core.errors import RefusedError
from casemate.operations.calendar import today
from casemate.respond.requests import states, tables
from casemate.stages.release.registry import Registered
from casemate.wiring import Wiring


def require_kept(project: Wiring, reference: str) -> None:
    """RefusedError: an erasure or a rectification that was granted says that a model is withdrawn,
    or was to be trained anew by now; or the register of erasures does, of a project that was
    restored from before it.
    """
    day = today(project).isoformat()
    _require_not_barred(project, reference, day)
    with project.database.reading() as tx:
        found = tables.requests(
            tx,
            tables.REQUESTS.c.kind.in_(states.ABOUT_MODELS),
            tables.REQUESTS.c.state.in_(states.BINDING),
        )
    for one in found:
        decided = one.models.get(reference)
        if decided is None or decided.how == "keep" or (decided.by and day <= decided.by):
            continue
        why = (
            "is withdrawn"
            if decided.how == "withdraw"
            else f"was to be {'unlearnt' if decided.how == 'unlearn' else 'trained anew'} by"
            f" {decided.by}"
        )
        of = "an erased person" if one.kind in states.ERASING else "a person that were wrong"
        raise RefusedError(
            f"{reference} {why}: it was made of rows of {of} (request {one.id})",
            hint="casemate run, then promote the new version",
        )


def _require_not_barred(project: Wiring, reference: str, day: str) -> None:
    """RefusedError: a decision about the model is in the register that this catalogue lost."""
    records = [one for one in project.erasures.all() if one.barred and one.what == "erased"]
    if not records:
        return
    digest = digest_of(project.registry.get(reference))
    with project.database.reading() as tx:
        asked = tables.requests(tx, tables.REQUESTS.c.kind.in_(states.ERASING))
    here = {project.erasures.digest(one.subject) for one in asked if reference in one.models}
    for one in records:
        until = one.barred.get(digest)
        if until is None or one.digest in here or (until and day <= until):
            continue
        raise RefusedError(
            f"{reference} was made of rows of a person who was erased on {one.time[:10]}, and is"
            " not to be promoted any more",
            hint="casemate run, then promote the new version",
        )


def digest_of(model: Registered) -> str:
    """What a model is known by in the register of erasures: its name and all that made it."""
    return sha256_record([model.release.model, model.release.lineage])
