"""Whether a verified model may be started here and now, and the copy of it that is started.

What a start can know without the project: who approved the model (signed statements that travel
with it), until when it may pass without a gate (its signed card), which stage it is for, what its
owner has withdrawn since (a signed list), and which image it came in (signed provenance).
"""

import datetime
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from casemate.core.errors import ConfigError, RefusedError, VerificationError
from casemate.core.files import exchange, remove_tree, whole_folder
from casemate.core.signatures import Verifier, read_envelope, subjects_of
from casemate.core.types import Record
from casemate.stages.release import bundle
from casemate.stages.release.carried import APPROVALS, BESIDE, Carried

APPROVAL = "https://casemate.dev/approval/v1"
"""What an approval says, as an in-toto predicate type."""
PROVENANCE = "https://slsa.dev/provenance/v1"
"""https://slsa.dev/spec/v1.2/build-provenance"""
GATEWAY_TYPE = "https://casemate.dev/gateway-image/v1"
"""What was built, in the provenance of the gateway's image."""
WITHDRAWN = "withdrawn.json"
WITHDRAWN_TYPE = "application/vnd.casemate.withdrawn+json"
MOST_APPROVALS = 100
"""Approvals that one model carries: each is a signature to verify before anything else is believed.
A judgement: nobody has so many approvers.
"""
MOST_AGE = datetime.timedelta(days=3650)
"""Of a list of withdrawn models: beyond it nobody means an age."""
AHEAD = datetime.timedelta(minutes=5)
"""How far the clock of whoever wrote the list may be ahead of the one here: one of later than that
tells no age, for it would stay young for as long as that clock was wrong. A judgement: what
Kerberos recommends (RFC 4120, section 8.2).
"""
_READ_ONLY, _FOLDER = 0o444, 0o555
"""Modes of what was admitted: nothing changes it by accident afterwards."""


class Rules(Record, frozen=True, kw_only=True):
    """What a model must be so that it is started."""

    approvals: int = 0
    """Different people who must have approved it for its stage."""
    provenance: bool = False
    """Whether its owner must have signed where the image comes from."""
    stage: str | None = None
    """The stage that it must be signed for; None: any."""
    withdrawn_within: datetime.timedelta | None = None
    """How old the newest list of withdrawn models may be; None: any age, and there may be none."""


class Gone(Record, frozen=True, kw_only=True):
    """A model that its owner took back."""

    model: str
    """`NAME@VERSION`."""
    bundle: str
    """SHA-256 of its `model.sig`."""
    reason: str
    """Why, in a sentence."""
    signed: str = ""
    """SHA-256 of what is signed in there: the same signature can be spelled in other bytes."""


class Withdrawals(Record, frozen=True, kw_only=True):
    """Every model that an owner took back, as of a time."""

    project: str
    """Id of the project."""
    time: str
    """When the list was made, ISO 8601, UTC."""
    models: list[Gone]
    """Those that must not be started."""
    version: int = 1
    """Version of this format."""


def require_apart(path: Path, keys: Sequence[Path | str]) -> None:
    """ConfigError when one of the keys lies within what they are to verify."""
    for key in keys:
        if Path(key).resolve().is_relative_to(path.resolve()):
            raise ConfigError(
                f"the key {key} came with the model, so it shows nothing",
                hint="get the owner's public keys over a channel you trust",
            )


def require_elsewhere(path: Path, into: Path) -> None:
    """ConfigError when what is verified and where it is written lie within one another."""
    one, other = path.resolve(), into.absolute()
    other = other.parent.resolve() / other.name  # a link there is what `place` refuses
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise ConfigError(
            f"{into} and {path} lie within one another, and what was given stays as it is",
            hint="name a folder elsewhere: --into /run/model/now",
        )


def withdrawals(content: bytes, verifier: Verifier) -> Withdrawals:
    """A published list of withdrawn models; VerificationError when nobody trusted signed it."""
    payload = verifier.verify(read_envelope(content), WITHDRAWN_TYPE)
    try:
        return msgspec.json.decode(payload, type=Withdrawals)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise VerificationError(
            "the list of withdrawn models is malformed", hint=f"ask its owner for {WITHDRAWN} again"
        ) from error


def require_not_withdrawn(
    model: bundle.VerifiedModel, carried: Carried, lists: Sequence[bytes], verifier: Verifier
) -> None:
    """RefusedError when one of the owner's lists holds the model."""
    listed = [one for content in lists for one in withdrawals(content, verifier).models]
    mine, signed = bundle.digest_of(carried.bundle), bundle.payload_digest(carried.bundle)
    reference = f"{model.card.name}@{model.card.model_version}"
    for one in listed:
        if one.bundle == mine or one.signed == signed:
            raise RefusedError(
                f"{reference} is withdrawn by its owner: {one.reason}",
                hint="take a version that is not on the list",
            )


def require_fresh(
    within: datetime.timedelta,
    lists: Sequence[bytes],
    verifier: Verifier,
    now: datetime.datetime,
) -> None:
    """RefusedError unless the owner has said lately what is withdrawn.

    Args:
        within: how long ago, at most; a time that is yet to come is none.
        lists: what was published, signed.
        verifier: the signers that are trusted.
        now: with time zone.
    """
    times = [_time(withdrawals(one, verifier)) for one in lists]
    if any(-AHEAD <= now - time <= within for time in times):
        return
    told = "is not here"
    if times:
        newest = max(times)
        told = f"is of {newest.isoformat(timespec='seconds')}"
        told += ", which is yet to come" if now < newest else ""
    raise RefusedError(
        f"the list of withdrawn models {told}, and must not be older than {within}",
        hint=f"its owner writes it: casemate image withdrawn {WITHDRAWN}; put it beside the keys",
    )


def _time(listed: Withdrawals) -> datetime.datetime:
    try:
        found = datetime.datetime.fromisoformat(listed.time)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise VerificationError(
            f"the list of withdrawn models is of no time: {listed.time[:40]!r}",
            hint=f"ask its owner for {WITHDRAWN} again",
        )
    return found


def require(
    rules: Rules,
    model: bundle.VerifiedModel,
    carried: Carried,
    verifier: Verifier,
    now: datetime.datetime,
    lists: Sequence[bytes] = (),
) -> None:
    """Nothing when the model may be started.

    Args:
        rules: what it must be.
        model: as verified.
        carried: as it was read, with what lies beside it.
        verifier: the signers that are trusted.
        now: with time zone.
        lists: what its owner published of withdrawn models.

    Raises:
        RefusedError: it is for another stage, its waiver has ended, approvals are missing, or no
            list of withdrawn models is young enough.
        VerificationError: an approval or the provenance is another model's, or was changed.
    """
    card = model.card
    reference = f"{card.name}@{card.model_version}"
    if rules.withdrawn_within is not None:
        require_fresh(rules.withdrawn_within, lists, verifier, now)
    if rules.stage is not None and card.stage != rules.stage:
        raise RefusedError(
            f"{reference} is signed for the stage {card.stage!r}, not {rules.stage!r}",
            hint="set [release] stage, and run again",
        )
    if ended := card.ended(now):
        raise RefusedError(
            f"{reference} passed {', '.join(ended)} by a waiver that has ended",
            hint="improve the model, or ask an approver: casemate model waive",
        )
    people = approvers(model, carried, verifier)
    if len(people) < rules.approvals:
        raise RefusedError(
            f"{reference} carries {len(people)} of {rules.approvals} approvals for {card.stage}",
            hint="casemate model approve, then write it out again",
        )
    signed = attested(carried, verifier)
    if rules.provenance and not signed:
        raise RefusedError(
            f"nothing that {reference}'s owner signed says where this image comes from",
            hint="copy the attestations with the image: casemate image model writes them",
        )


def approvers(model: bundle.VerifiedModel, carried: Carried, verifier: Verifier) -> set[str]:
    """Who approved the model for its stage, by the signed statements that lie beside it.

    Raises:
        VerificationError: one was changed, or is about another model.
    """
    lines = carried.beside.get(APPROVALS, b"").splitlines()
    if len(lines) > MOST_APPROVALS:
        raise VerificationError(f"the model carries more than {MOST_APPROVALS} approvals")
    people = set()
    for line in lines:
        statement = verifier.verify_statement(read_envelope(line), APPROVAL)
        said = statement.get("predicate")
        mine = {"bundle": bundle.digest_of(carried.bundle)}
        if not isinstance(said, dict) or subjects_of(statement) != mine:
            raise VerificationError(
                "the model carries an approval of another one", hint="treat it as tampering"
            )
        who = said.get("approver")
        if said.get("stage") == model.card.stage and isinstance(who, str) and who:
            people.add(who)
    return people


def attested(carried: Carried, verifier: Verifier) -> list[dict[str, Any]]:
    """The provenance of the image, as trusted signers signed it. What others say of an image is
    theirs and counts for nothing.

    Raises:
        VerificationError: a statement of a trusted signer was changed, or is about another image.
    """
    found = []
    for content in carried.attestations:
        try:
            envelope = read_envelope(content)
        except VerificationError:
            continue
        if not verifier.is_named(envelope):
            continue
        statement = verifier.verify_statement(envelope, PROVENANCE)
        if f"sha256:{next(iter(subjects_of(statement).values()), '')}" != carried.image:
            raise VerificationError(
                "the image carries the provenance of another one", hint="treat it as tampering"
            )
        found.append(statement)
    return found


def place(model: bundle.VerifiedModel, carried: Carried, folder: Path) -> None:
    """Write the bytes that were verified, read-only, in place of what an earlier start left.

    Args:
        model: as verified; its files are written from memory.
        carried: what lay beside them.
        folder: nothing, an empty folder, or one that was written like this.

    Raises:
        ConfigError: it holds something else.
    """
    folder = folder.absolute()
    if folder.is_symlink() or (folder.exists() and not _ours(folder)):
        raise ConfigError(
            f"{folder} holds something else already",
            hint="name a folder that is not there, within what is mounted: --into /run/model/now",
        )
    target = folder if not folder.exists() else folder.with_name(f".{folder.name}.next")
    remove_tree(target) if target != folder else None
    with whole_folder(target, 0o755) as draft:
        _write(draft, model, carried)
    if target != folder:
        exchange(target, folder)
        remove_tree(target)


def _ours(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    ours = {bundle.MODEL_FOLDER, *BESIDE}
    return not names or ({bundle.MODEL_FOLDER, bundle.BUNDLE} <= names <= ours)


def _write(draft: Path, model: bundle.VerifiedModel, carried: Carried) -> None:
    written = {f"{bundle.MODEL_FOLDER}/{name}": content for name, content in model.files.items()}
    written |= carried.beside
    written |= dict(zip(bundle.PUBLIC_KEYS, model.signer.pems, strict=True))
    folders = {draft}
    for name, content in written.items():
        path = draft / name
        path.parent.mkdir(parents=True, exist_ok=True)
        folders |= {path.parent, *(up for up in path.parents if up.is_relative_to(draft))}
        path.write_bytes(content)
        path.chmod(_READ_ONLY)
    for one in sorted(folders, reverse=True):
        one.chmod(_FOLDER)


def find_command(command: Sequence[str]) -> list[str]:
    """The command with the path of its program; ConfigError when there is none."""
    program = shutil.which(command[0]) if command else None
    if program is None:
        raise ConfigError(
            f"there is no command {command[0] if command else ''!r}",
            hint="casemate verify … --then COMMAND WORDS…",
        )
    return [program, *command[1:]]
