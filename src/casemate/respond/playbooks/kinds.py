"""What steps of playbooks can do: a table, which the reference shows; how they do it stands in
`operations.playbooks.steps`.
"""

from dataclasses import dataclass

VARIABLES = {
    "$model": "the model version that the incident is about, `NAME@VERSION`",
    "$name": "the same without its version",
    "$run": "the run that trained it",
    "$key": "the key that it is about, such as `general`",
    "$principal": 'the person or service that it is about, `User::"ana"`',
}
"""What stands for parts of an incident's lineage."""


@dataclass(frozen=True)
class Kind:
    """One thing that a step can do."""

    does: str
    action: str
    """That policy decides on, for whoever puts the playbook in force and for the playbook."""
    of: str = ""
    """What it acts on when the step says nothing; empty and not `needs_of`: nothing."""
    needs_of: str = ""
    """What `of` is, in words; empty: the step takes none."""
    undo: str = ""
    """How it is taken back; empty: it cannot be, or leaves nothing to take back."""
    people: int = 0
    """How many persons must approve at least."""
    proof: str = ""
    """What must be seen before it is called done."""
    resource: str = "Project"
    """Kind of what policy decides on: `Project`, or `Model` or `Key` by `of`."""


MODEL, PRINCIPAL = "a model, as `NAME@VERSION` or `NAME`", "a person or service"
_SERVED = "every gateway is asked: it serves the version before, by its signed digest"
KINDS: dict[str, Kind] = {
    "rollback": Kind(
        does="takes a version back that is served as canary, shadow or live; the one before serves",
        action="model:contain",
        of="$model",
        needs_of="a model, as `NAME@VERSION`",
        undo="it is promoted again",
        proof=_SERVED,
        resource="Model",
    ),
    "withdraw": Kind(
        does="lets gateways answer nothing from a model: `casemate hold place answers`",
        action="hold:place",
        of="$model",
        needs_of=MODEL,
        undo="the hold is lifted",
        proof="every gateway is asked: it refuses",
    ),
    "label-only": Kind(
        does="shows callers the label alone: `casemate hold place probabilities`",
        action="hold:place",
        of="$name",
        needs_of=MODEL,
        undo="the hold is lifted",
        proof="every gateway is asked: it offers the label alone",
    ),
    "freeze": Kind(
        does="lets nobody promote a version of a model: `casemate hold place releases`",
        action="hold:place",
        of="$name",
        needs_of=MODEL,
        undo="the hold is lifted",
        proof="a promotion would be refused",
    ),
    "keep-evidence": Kind(
        does="keeps a run from `casemate gc`, with its models, data and evidence",
        action="hold:place",
        of="$run",
        needs_of="a run",
        undo="the hold is lifted",
        proof="`casemate gc` would not take it",
    ),
    "hold-source": Kind(
        does="holds back what a source of feedback tells: it teaches no model",
        action="hold:place",
        needs_of="a source, as `casemate feedback sources` names it",
        undo="the hold is lifted",
        proof="the hold stands",
    ),
    "suspend": Kind(
        does="lets nobody act as a person or service, and ends their sessions",
        action="access:suspend",
        of="$principal",
        needs_of=PRINCIPAL,
        undo="`casemate access resume`; sessions stay ended",
        proof="every gateway knows it, and refuses a fresh token of the service",
    ),
    "end-sessions": Kind(
        does="ends every session of a person, who may log in again",
        action="access:session",
        of="$principal",
        needs_of="a person",
        proof="no session of theirs lives",
    ),
    "revoke-token": Kind(
        does="makes a token useless for good",
        action="token:revoke",
        needs_of="a token's id, as `casemate access token list` shows it",
        people=2,
        proof="it is revoked, and every gateway refuses a twin of it that was revoked later",
    ),
    "revoke-certificate": Kind(
        does="makes a client or server certificate useless for good",
        action="certificate:revoke",
        needs_of="a serial number, as `casemate keys certificate list` shows it",
        people=2,
        proof="the project's list of revocations has it",
        resource="Key",
    ),
    "rotate-key": Kind(
        does="makes a new version of a key and wraps under it what the former one had wrapped",
        action="keys:rotate",
        of="$key",
        needs_of="a key-encryption key",
        proof="a newer version is active, and nothing is under an older one",
        resource="Key",
    ),
    "disable-key": Kind(
        does="refuses to unwrap with the version of a key before the active one, and older ones",
        action="keys:disable",
        of="$key",
        needs_of="a key-encryption key",
        undo="`casemate keys enable`",
        people=1,
        proof="the key store says that it is disabled",
        resource="Key",
    ),
    "retrain": Kind(
        does="demands a retraining, which the next `casemate retrain run` does within its budgets",
        action="retrain:demand",
        proof="the demand stands",
    ),
    "ticket": Kind(
        does="opens the incident's ticket in a tracker, however low its severity",
        action="incident:handle",
        needs_of="a tracker, as `[trackers.NAME]` names it",
        proof="the tracker shows it",
    ),
    "notify": Kind(
        does="tells whoever hears `playbook:notice` of `[notices]`",
        action="incident:handle",
        needs_of="what is said",
        proof="every receiver took it",
    ),
    "contain": Kind(
        does="says that the incident does no more harm; only where what it needs is proven",
        action="incident:handle",
        proof="the log says so",
    ),
}
