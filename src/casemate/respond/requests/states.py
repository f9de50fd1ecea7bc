"""The life of a request: open, granted, fulfilled, or refused.

A request is what its entries of the audit log say, folded by `applied`. The person stands in them
by pseudonym; what people write as reasons should name nobody, for it stays.
"""

from typing import Literal

from msgspec import structs

from casemate.core.errors import RefusedError
from casemate.core.types import Record

Law = Literal["gdpr", "ccpa", "hipaa", "lgpd"]
Kind = Literal[
    "access",
    "portability",
    "rectification",
    "erasure",
    "restriction",
    "objection",
    "automated",
    "know",
    "delete",
    "correct",
    "limit",
    "opt-out",
]
State = Literal["open", "granted", "erased", "refused", "fulfilled", "lifted"]
How = Literal["retrain", "unlearn", "keep", "withdraw"]
What = Literal["confirm", "identify", "extend", "grant", "refuse", "defer", "lift"]
"""What people decide about a request."""
OVER: tuple[State, ...] = ("refused", "fulfilled", "lifted")
BINDING: tuple[State, ...] = ("granted", "erased", "fulfilled")
"""What is decided about models counts in these: anybody may ask, and may be refused."""
COPIES: tuple[Kind, ...] = ("access", "portability", "know")
"""Kinds that a copy of the data fulfils."""
ERASING: tuple[Kind, ...] = ("erasure", "delete")
RECTIFYING: tuple[Kind, ...] = ("rectification", "correct")
ABOUT_MODELS = (*ERASING, *RECTIFYING)
"""Kinds after which models are made of what must not, or was not to be."""
RESTRICTING: tuple[Kind, ...] = ("restriction", "objection", "limit", "opt-out")
"""Kinds that take a person's rows out of runs while they bind."""
OPENED, CONFIRMED, EXTENDED = "request:opened", "request:confirmed", "request:extended"
GRANTED, REFUSED, FULFILLED = "request:granted", "request:refused", "request:fulfilled"
ERASED, DEFERRED, HELD = "request:erased", "request:deferred", "request:held"
IDENTIFIED, LIFTED = "request:identified", "request:lifted"
MODEL, REMINDED, OVERDUE = "request:model-decided", "request:reminded", "request:overdue"


class ModelOutcome(Record, frozen=True, kw_only=True):
    """What became of a model that was made of an erased person's rows."""

    model: str
    """`NAME@VERSION`."""
    how: How
    instead: str = ""
    """The model that was trained without them."""
    grown: int | None = None
    """Of one that was unlearnt: trees that were grown anew; all others were taken over from `model`
    because training without the rows would grow the same, by digest of their rows, key and
    software.
    """
    taken_over: int | None = None
    epsilon: float | None = None
    """Of the differential privacy that it was trained under, where it is kept."""
    reason: str = ""
    membership: Literal["at chance", "inconclusive", "told apart", "not measured"]
    """Of the erased rows against the model that remains; `not measured` where none does."""
    rows: int = 0
    """Rows of theirs that were tried."""
    auc: float | None = None
    low: float | None = None
    high: float | None = None
    """The area under the ROC curve with its interval; 0.5 is chance."""


class Closing(Record, frozen=True, kw_only=True):
    """What was seen when an erasure was closed: the content of its certificate, which names
    nobody.
    """

    held: bool
    """Whether there was anything of the person; False: there was nothing to erase."""
    identifiers: int
    """Under how many identifiers the person was looked for."""
    keys: int
    """Keys of theirs that are destroyed."""
    rows: int
    """Rows, in all versions, whose identifiers went with the keys or were taken out."""
    looked: dict[str, int]
    """How much was looked through, by kind; the identifiers were read nowhere."""
    looked_at: str
    """When, ISO 8601."""
    not_known: tuple[str, ...] = ()
    """Versions whose people are not known, and why."""
    models: tuple[ModelOutcome, ...] = ()
    predictions: int = 0
    """Recorded predictions about the person that were taken out."""
    shared: int = 0
    """Of these, such as were about others too: what was told of those is gone with them."""


class Change(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened to a request: the detail of its entry in the log."""

    at: str
    """When, ISO 8601."""
    day: str
    """The same as a day of the controller's calendar."""
    text: str = ""
    """Why, or what was done."""
    subject: str = ""
    """Pseudonym, when it opens."""
    kind: Kind | None = None
    law: Law | None = None
    received: str = ""
    """The day on which it came."""
    first: str = ""
    """Of an extension: the last day without it."""
    clock: str = ""
    """Which term people were reminded of, or that it ran out."""
    model: str = ""
    """`NAME@VERSION`, of a decision about it."""
    how: How | None = None
    by: str = ""
    """Until which day."""
    rows: int = 0
    """Rows that were handed over or erased."""
    models: tuple[str, ...] = ()
    """Models that were made of them."""
    keys: int = 0
    """Keys that were destroyed."""
    identifiers: int = 0
    """Under how many identifiers a person was looked for."""
    looked: dict[str, int] = {}
    """How much was looked through for them, by kind."""
    predictions: int = 0
    """Recorded predictions about the person that were taken out."""
    shared: int = 0
    """Of these, such as were about others too."""
    unattended: bool = False
    """Whether it may be completed by itself."""
    closing: Closing | None = None
    versions: tuple[str, ...] = ()
    """`DATASET@VERSION`s with the rows that are to be corrected, when it opens."""


class Decided(Record, frozen=True, kw_only=True):
    """What becomes of a model that was made of rows that are erased or were wrong."""

    how: How
    by: str = ""
    """Until which day, where it is to be trained anew."""
    text: str = ""


class Asked(Record, frozen=True, kw_only=True):
    """A request as its entries make it."""

    id: int
    subject: str
    """Pseudonym."""
    kind: Kind
    law: Law
    received: str
    """A day of the controller's calendar, ISO 8601."""
    state: State = "open"
    confirmed: str | None = None
    identified: str | None = None
    """When somebody wrote down how it was checked that the person themselves asks."""
    extended: str | None = None
    over: str | None = None
    """When it was refused or fulfilled."""
    models: dict[str, Decided] = {}
    """Of an erasure or a rectification: what becomes of each model."""
    versions: tuple[str, ...] = ()
    """Of a rectification: `DATASET@VERSION`s with the rows that are to be corrected."""
    rows: int = 0
    deferred: str = ""
    """Of an erasure: the last day on which a law wants the data kept."""
    floor: str = ""
    """Which law."""
    unattended: bool = False
    """Whether an erasure completes by itself once nothing keeps it."""
    held: str = ""
    """Which hold kept it, the last time that it was tried."""
    erased: str | None = None
    """When the person's keys were destroyed."""
    keys: int = 0
    identifiers: int = 0
    looked: dict[str, int] = {}
    predictions: int = 0
    """Recorded predictions about the person that were taken out."""
    shared: int = 0
    closing: Closing | None = None
    reminded: tuple[str, ...] = ()
    """Terms that people were reminded of."""
    overdue: tuple[str, ...] = ()
    """Terms that were told to have run out."""
    changes: int = 1

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be done."""
        return self.state in OVER


def applied(asked: Asked | None, number: int, action: str, change: Change) -> Asked:
    """The request after one change.

    Args:
        asked: before; None before it opens.
        number: of the request.
        action: of the entry.
        change: its detail.

    Raises:
        RefusedError: this cannot happen in its state.
    """
    if asked is None:
        if action != OPENED or not (change.subject and change.kind and change.law):
            raise RefusedError(
                f"there is no request {number}", hint="casemate privacy request list"
            )
        return Asked(
            id=number,
            subject=change.subject,
            kind=change.kind,
            law=change.law,
            received=change.received,
            versions=change.versions,
        )
    if action == LIFTED:
        return _lifted(asked, change)
    if asked.is_over and action != MODEL:
        raise RefusedError(
            f"request {number} is {asked.state}", hint=f"casemate privacy request show {number}"
        )
    asked = structs.replace(asked, changes=asked.changes + 1)
    if action in (REMINDED, OVERDUE, HELD):
        return _noted(asked, action, change)
    if action == MODEL:
        return _of_model(asked, change)
    if action == CONFIRMED:
        if asked.confirmed is not None:
            raise RefusedError(f"request {number} was confirmed before")
        return structs.replace(asked, confirmed=change.at)
    if action == IDENTIFIED:
        if not change.text:
            raise RefusedError(
                "say how it was checked that the person themselves asks", hint="--reason HOW"
            )
        return structs.replace(asked, identified=change.at)
    if action == EXTENDED:
        return _extended(asked, change)
    return _stepped(asked, action, change)


def _lifted(asked: Asked, change: Change) -> Asked:
    if asked.kind not in RESTRICTING or asked.state not in BINDING:
        raise RefusedError(
            f"request {asked.id} is {asked.state}, of {asked.kind}: nothing is to be lifted",
            hint="what was granted and takes rows out can be: " + ", ".join(RESTRICTING),
        )
    if not change.text:
        raise RefusedError("lifting a restriction needs its reason", hint="--reason TEXT")
    over = asked.over or change.at
    return structs.replace(asked, state="lifted", over=over, changes=asked.changes + 1)


def _noted(asked: Asked, action: str, change: Change) -> Asked:
    """What was told of it, which leaves its state."""
    if action == REMINDED:
        return structs.replace(asked, reminded=(*asked.reminded, change.clock))
    if action == OVERDUE:
        return structs.replace(asked, overdue=(*asked.overdue, change.clock))
    return structs.replace(asked, held=change.text)


def _of_model(asked: Asked, change: Change) -> Asked:
    if asked.kind not in ABOUT_MODELS:
        raise RefusedError(
            f"request {asked.id} is of {asked.kind}: models are decided about where a person is"
            " erased or their rows are corrected"
        )
    if change.how is None or not change.model:
        raise RefusedError("say which model, and what becomes of it", hint="NAME@VERSION")
    if change.how in ("retrain", "unlearn") and not change.by:
        what = "trained anew" if change.how == "retrain" else "unlearnt"
        raise RefusedError(f"until when is it to be {what}?", hint="--by DAY")
    if change.how == "unlearn" and asked.kind not in ERASING:
        raise RefusedError(
            f"request {asked.id} is of {asked.kind}: rows that are corrected do not go",
            hint="retrain",
        )
    if change.how == "keep" and not change.text:
        raise RefusedError("keeping a model needs its reason", hint="--reason TEXT")
    decided = Decided(how=change.how, by=change.by, text=change.text)
    return structs.replace(asked, models={**asked.models, change.model: decided})


def _extended(asked: Asked, change: Change) -> Asked:
    if asked.extended is not None:
        raise RefusedError(f"request {asked.id} was extended before, and can be once")
    if not change.text:
        raise RefusedError("an extension needs its reason", hint="--reason TEXT")
    if not change.first or change.day > change.first:
        raise RefusedError(
            f"request {asked.id}: the first term ended on {change.first}, too late to extend",
            hint="answer it",
        )
    return structs.replace(asked, extended=change.at)


def _stepped(asked: Asked, action: str, change: Change) -> Asked:
    if action == GRANTED and asked.state == "open":
        return structs.replace(asked, state="granted", unattended=change.unattended)
    if action == DEFERRED:
        return _deferred(asked, change)
    if action == REFUSED and asked.state != "erased":
        if not change.text:
            raise RefusedError("a refusal needs its reason", hint="--reason TEXT")
        return structs.replace(asked, state="refused", over=change.at)
    if action == FULFILLED:
        _require_decided(asked, change)
        return structs.replace(
            asked, state="fulfilled", over=change.at, rows=change.rows, closing=change.closing
        )
    if action == ERASED:
        _require_decided(asked, change)
        return structs.replace(
            asked,
            state="erased",
            erased=change.at,
            rows=change.rows,
            keys=change.keys,
            identifiers=change.identifiers,
            looked=change.looked,
            predictions=change.predictions,
            shared=change.shared,
            held="",
        )
    raise RefusedError(
        f"request {asked.id} is {asked.state}: {action.partition(':')[2]} does not follow",
        hint=f"casemate privacy request show {asked.id}",
    )


def _require_decided(asked: Asked, change: Change) -> None:
    """A request that can be fulfilled was granted, and every model was decided about."""
    if asked.state not in ("granted", "erased"):
        raise RefusedError(
            f"request {asked.id} is {asked.state}: it is fulfilled after it was granted",
            hint=f"casemate privacy request decide {asked.id} grant",
        )
    missing = [name for name in change.models if name not in asked.models]
    if asked.kind in ABOUT_MODELS and missing:
        raise RefusedError(
            f"nothing is decided about {', '.join(missing[:5])}, made of this person's rows",
            hint=f"casemate privacy request model {asked.id} retrain {missing[0]} --by DAY",
        )


def _deferred(asked: Asked, change: Change) -> Asked:
    if asked.kind not in ERASING or asked.state not in ("open", "granted"):
        raise RefusedError(
            f"request {asked.id} is of {asked.kind} and {asked.state}: an erasure is put off before"
            " it was carried out",
            hint=f"casemate privacy request show {asked.id}",
        )
    if not change.by or not change.text:
        raise RefusedError(
            "putting an erasure off needs the day and the law", hint="--until DAY --reason LAW"
        )
    return structs.replace(
        asked, state="granted", deferred=change.by, floor=change.text, unattended=True
    )
