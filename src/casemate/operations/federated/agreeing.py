"""Who takes part: cards, charters, and what this project has approved."""

import json
from collections.abc import Sequence

import sqlalchemy as sa
from msgspec import structs

from casemate.controls.federation import cards
from casemate.controls.federation.cards import Card, Charter
from casemate.controls.federation.rounds import Approved
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, RefusedError, VerificationError
from casemate.core.text import listed
from casemate.core.types import ColumnSchema, Record, Schema
from casemate.operations.acting import Acting, operation, reading
from casemate.operations.federated.parties import about, card_of, is_own, number_in
from casemate.stages.data import schema as pinned
from casemate.stages.train.training_code import code_of, digest_of
from casemate.wiring import Wiring

UNSAID = "unspecified"
"""`[project] purpose` where nobody said one."""
SHOWN = 25
"""Columns that a message names, with the lines that declare them."""
_LIMITS = {False: "min = LEAST, max = GREATEST", True: "categories = [ALL VALUES]"}


class Membership(Record, frozen=True, kw_only=True):
    """A charter that counts here."""

    name: str
    digest: str
    """SHA-256 of the charter."""
    roles: list[str]
    """`coordinator`, `site` or both; none where this project has other keys than it says."""
    purpose: str
    url: str
    """Where its coordinator listens."""
    coordinator: str
    """Its name there."""
    sites: list[str]
    """Names, by number."""
    least: int
    """Sites of which a round must hear."""
    since: str
    """RFC 3339."""
    principal: str
    """Who approved it."""


class Code(Record, frozen=True, kw_only=True):
    """Training code that a coordinator's jobs bring."""

    digest: str
    """SHA-256 over names and contents: what sites name in `[federate] code`."""
    files: dict[str, str]
    """SHA-256 of each, by its path."""


@operation("federation:approve")
def card(project: Wiring, name: str = "") -> bytes:
    """This project's card, signed: what a coordinator needs of a site, and sites of a coordinator.

    Args:
        project: whose.
        name: as others call it, the same each time; default: that of the project.

    Returns:
        A DSSE envelope as JSON; `controls.federation.cards.card_in` reads it.

    Raises:
        AccessDenied: policy. ConfigError: that is no name.
    """
    name = name or project.config.project.name
    acting = card.ask(project, named=name[:80])
    made = card_of(project, _name(name))
    signed = cards.signed(made, cards.CARD_TYPE, project.signer)
    acting.record("federation:card", about(name), fingerprint=made.fingerprint)
    return signed


@operation("federation:lead")
def found(
    project: Wiring,
    name: str,
    *,
    url: str,
    sites: Sequence[bytes],
    least: int | None = None,
    called: str = "",
) -> bytes:
    """A charter that this project coordinates, signed, and approved here at once.

    Features and their limits are those that casemate.toml declares; what the pinned schema learnt
    from rows stays here.

    Args:
        project: of the coordinator.
        name: of the federation.
        url: where it will listen, `https://HOST:PORT`.
        sites: the signed card of each, in the order of their numbers.
        least: sites of which a round must hear; default: more than two thirds.
        called: this project's name on its own card; default: that of the project.

    Returns:
        A DSSE envelope as JSON, for every site to approve.

    Raises:
        AccessDenied: policy. ConfigError: name, URL or number is none, no purpose is said, or a
            column has no declared limits. VerificationError: a card is none, or is there twice.
    """
    acting = found.ask(project, federation=name[:80], sites=len(sites))
    own = card_of(project, _name(called or project.config.project.name))
    purpose = project.config.project.purpose
    least = 2 * len(sites) // 3 + 1 if least is None else least
    _require_possible(url, least, len(sites))
    if purpose == UNSAID:
        raise ConfigError(
            "[project] purpose says nothing, and owners agree on a purpose",
            hint='such as purpose = "diagnosis-support"',
        )
    members = []
    for number, content in enumerate(sites, 1):
        try:
            members.append(cards.card_in(content))
        except VerificationError as error:
            error.message = f"card {number} of {len(sites)}: {error.message}"
            raise
    charter = Charter(
        name=_name(name),
        purpose=purpose,
        url=url,
        coordinator=own,
        sites=members,
        columns=columns_of(project),
        least=least,
    )
    try:
        cards.sound(charter)
    except VerificationError as error:  # a file of nobody's yet: what was asked for is wrong
        raise ConfigError(error.message, hint="one card of each owner, and one of no other") from (
            error
        )
    _require_same_coordinator(project, charter)
    signed = cards.signed(charter, cards.CHARTER_TYPE, project.signer)
    with acting.transaction() as tx:
        _keep(project, acting, tx, charter, signed, "federation:found")
    return signed


@operation("federation:approve")
def approve(project: Wiring, content: bytes) -> Charter:
    """Approve a charter: from now on its coordinator may ask about this project's rows what
    `[federate]` allows.

    Args:
        project: of a site.
        content: the signed charter.

    Raises:
        AccessDenied: policy, and for every service. VerificationError: its coordinator did not sign
            it. ConfigError: this project is none of its sites. RefusedError: `[federate]` does not
            allow it, or a charter of this name has another coordinator.
    """
    acting = approve.ask(project)
    charter = cards.charter_in(content)
    number = number_in(project, charter)
    problem = refusal_of(project, charter)
    if problem is not None:
        acting.record(
            "federation:approve", about(charter.name), "denied", digest=charter.digest,
            coordinator=charter.coordinator.fingerprint, why=problem.message,
        )  # fmt: skip
        raise problem
    _require_same_coordinator(project, charter)
    with acting.transaction() as tx:
        _keep(project, acting, tx, charter, content, "federation:approve", site=number)
    return charter


def refusal_of(project: Wiring, charter: Charter) -> RefusedError | None:
    """Why `[federate]` does not allow a charter; None: it does. What a site asks before it approves
    one, and again before it answers a job under it.
    """
    policy, head = project.config.federate, charter.coordinator
    if head.fingerprint not in policy.coordinators:
        return RefusedError(
            f"{head.name} ({head.fingerprint}) is no coordinator whose charters count here",
            hint=(
                "have them read that fingerprint to you, and compare; then it goes into [federate]"
                " coordinators of casemate.toml"
            ),
        )
    purposes = policy.purposes or [project.config.project.purpose]
    if charter.purpose not in purposes:
        return RefusedError(
            f"its purpose is {charter.purpose[:200]!r}, and here it is {', '.join(purposes)}",
            hint="[federate] purposes lists those for which rows may be asked about",
        )
    if charter.least < policy.least_sites:
        return RefusedError(
            f"a round would hear of {charter.least} sites, and {policy.least_sites} are the least"
            " here",
            hint="its coordinator founds it anew with a larger --least ([federate] least_sites)",
        )
    return None


@operation("federation:approve")
def leave(project: Wiring, name: str) -> None:
    """Take part in a federation no longer: nothing is answered under its charter from now on. What
    was answered stays on record, and in whatever was learnt of it.

    Raises:
        AccessDenied: policy, and for every service. ConfigError: no such charter counts here.
    """
    acting = leave.ask(project, federation=name[:80])
    with acting.transaction() as tx:
        left = project.federation.charter(name)
        project.federation.leave(tx, name)
        acting.append(tx, "federation:leave", about(name), digest=left.digest)


@reading("federation:read")
def code(project: Wiring) -> Code:
    """The training code that jobs of this project bring, for sites to read and approve.

    Raises:
        AccessDenied: policy. ConfigError: the files of `[train]` are not there.
    """
    files = code_of(project.root, project.config)
    return Code(
        digest=digest_of(files), files={name: sha256(content) for name, content in files.items()}
    )


@reading("federation:read")
def charters(project: Wiring) -> list[Membership]:
    """Every charter that counts here, the oldest first.

    Raises:
        AccessDenied: policy. VerificationError: one is not what its coordinator signed.
    """
    return [_membership(project, one) for one in project.federation.charters()]


def _membership(project: Wiring, kept: Approved) -> Membership:
    charter = cards.charter_in(kept.content)
    roles = ["coordinator"] if is_own(project, charter.coordinator) else []
    if any(is_own(project, one) for one in charter.sites):
        roles.append("site")
    return Membership(
        name=charter.name,
        digest=charter.digest,
        roles=roles,
        purpose=charter.purpose,
        url=charter.url,
        coordinator=charter.coordinator.name,
        sites=[one.name for one in charter.sites],
        least=charter.least,
        since=kept.since,
        principal=kept.principal,
    )


def _keep(
    project: Wiring,
    acting: Acting,
    tx: sa.Connection,
    charter: Charter,
    content: bytes,
    action: str,
    **detail: int,
) -> None:
    """Approve it, and say who takes part."""
    project.federation.approve(tx, charter.name, charter.digest, content, acting.uid)
    acting.append(
        tx, action, about(charter.name), digest=charter.digest, purpose=charter.purpose,
        coordinator=charter.coordinator.fingerprint,
        sites=[one.fingerprint for one in charter.sites], **detail,
    )  # fmt: skip


def _require_same_coordinator(project: Wiring, charter: Charter) -> None:
    """RefusedError where a charter of this name is somebody else's."""
    for kept in project.federation.charters():
        if kept.name != charter.name:
            continue
        before: Card = cards.charter_in(kept.content).coordinator
        if before.project != charter.coordinator.project:
            raise RefusedError(
                f"{charter.name} is a federation of {before.name} here, and this charter is"
                f" {charter.coordinator.name}'s",
                hint=f"casemate federate leave {charter.name}, or ask for another name",
            )


def _require_possible(url: str, least: int, sites: int) -> None:
    """Nothing; ConfigError: a charter cannot say that, whoever is in it."""
    try:
        cards.address_of(url)
    except VerificationError as error:
        raise ConfigError(f"--url: {error.message}", hint=error.hint) from error
    if not 2 <= sites <= cards.MOST_SITES:
        raise ConfigError(
            f"a charter of {sites} sites", hint=f"--site CARD for each: 2 to {cards.MOST_SITES}"
        )
    if not 2 <= least <= sites:
        raise ConfigError(f"--least {least}: of {sites} sites", hint=f"2 to {sites}")


def columns_of(project: Wiring) -> Schema:
    """Features and target as the pinned schema has them, with declared limits alone.

    Raises:
        ConfigError: no schema is pinned, there are several targets, or a feature has limits that
            were learnt from rows.
    """
    file = project.config.data.schema
    schema = pinned.load(project.root / file)
    if schema is None:
        raise ConfigError(
            f"no schema is pinned: there is no {file}",
            hint="casemate run pins what its table shows; or write it by hand",
        )
    if schema.labels or schema.further:
        raise ConfigError("owners learn one target together, and there are several")
    features = [_declared(project, column, learnt=schema.rows > 0) for column in schema.features]
    unsaid = [column for column in features if not cards.is_bounded(column)]
    if unsaid:
        lines = [
            f"{json.dumps(one.name, ensure_ascii=False)} = {{ {_LIMITS[one.type == 'category']} }}"
            for one in unsaid[:SHOWN]
        ]
        raise ConfigError(
            f"no limits are declared of {listed([one.name for one in unsaid], SHOWN)}:"
            " what rows showed is not told to others",
            hint=(
                'add to [data.columns], from what is known of such columns ("mean *" stands for'
                f" several): {'; '.join(lines)}"
            ),
        )
    target = structs.replace(
        schema.column(schema.target), min=None, max=None, categories=None, declared=[], once=0
    )
    return structs.replace(schema, columns=[*features, target], rows=0)


def _declared(project: Wiring, column: ColumnSchema, *, learnt: bool) -> ColumnSchema:
    """A column without what was learnt from rows."""
    said = project.config.data.column(column.name)
    limits = {}
    for name in ("min", "max", "categories"):
        value = getattr(said, name)
        if value is None and (not learnt or name in column.declared):
            value = getattr(column, name)
        limits[name] = sorted(value) if name == "categories" and value is not None else value
    # a feature that is missing is counted as such, whatever rows of the coordinator show
    return structs.replace(
        column, **limits, nullable=True, declared=[n for n in limits if limits[n] is not None],
        once=0,
    )  # fmt: skip


def _name(name: str) -> str:
    if not cards.NAMES.fullmatch(name):
        raise ConfigError(
            f"{name[:80]!r} cannot be a name", hint="letters, digits, '.', '_' and '-', 63 at most"
        )
    return name
