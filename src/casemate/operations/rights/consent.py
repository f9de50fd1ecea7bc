"""`casemate privacy consent`: who allowed what, and who took it back."""

import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from casemate.controls.privacy.consents import Consent, instant
from casemate.core.errors import ConfigError, DataError
from casemate.core.files import write_atomic
from casemate.core.types import Record, SealedDataset
from casemate.operations.acting import Noun, operation, reading
from casemate.operations.rights import consentfile, dpv
from casemate.operations.subject import identifier_of
from casemate.stages.release.registry import Registered
from casemate.wiring import Wiring

ABOUT = 'Project::"consent"'
WITHDRAWN = "consent withdrawn"
"""Why somebody is kept out again who was erased, and had consented since."""


class ImportedConsents(Record, frozen=True, kw_only=True):
    """What became of a file of consent."""

    records: int
    new: int
    """The others were known, word for word."""
    people: int
    taken_again: int = 0
    """People who were erased and have consented since."""


class ShownConsent(Record, frozen=True, kw_only=True):
    """What is known of one person's consent."""

    subject: str
    """Pseudonym."""
    records: list[Consent]
    """By purpose, in the order in which they count."""
    covered: dict[str, bool]
    """Purpose -> whether a run may take their rows now."""


@operation("consent:write")
def add(project: Wiring, told: Path | str | Sequence[Mapping[str, str]]) -> ImportedConsents:
    """Keep records, all of them or none; the same ones twice change nothing.

    Args:
        project: whose.
        told: a file of separated values with the columns subject, purpose, time, status (`given` or
            `withdrawn`), text and source; or these cells by their columns, a record each.

    Raises:
        AccessDenied: policy. ConfigError: there is no such file. DataError: lines are wrong, all of
            them named.
    """
    acting = add.ask(project)
    told = Path(told) if isinstance(told, str) else told
    said = consentfile.read(told, project.clock.now())
    root = project.identifiers.root()
    names = {one.subject: root.pseudonym(one.subject) for one in said}
    records = [
        Consent(
            subject=names[one.subject],
            purpose=one.purpose,
            time=one.time,
            given=one.given,
            text=one.text,
            source=one.source,
        )
        for one in said
    ]
    with acting.transaction() as tx:
        batch, new = project.consents.add(tx, records)
        counts = {"records": len(records), "new": new, "people": len(names)}
        counts |= {"withdrawn": sum(not one.given for one in records)}
        back, gone = _consented_anew(project, records)
        if back:
            project.erasures.add(tx, back, "lifted", "consent")
            counts["taken_again"] = len(back)
        project.erasures.add(tx, gone, "erased", WITHDRAWN)
        acting.append(tx, "consent:imported", ABOUT, batch=batch if new else 0, **counts)
    if back or gone:
        project.erasures.save()
    return ImportedConsents(records=len(records), new=new, people=len(names), taken_again=len(back))


def _consented_anew(project: Wiring, records: Sequence[Consent]) -> tuple[list[str], list[str]]:
    """(people who were erased and have consented since to this project's purpose: their rows may be
    taken again; those who had, and took it back). The newest record counts, as everywhere.
    """
    told = project.erasures.all()
    erased = {one.digest: one.time for one in told if one.what == "erased" and one.why != WITHDRAWN}
    if not erased:
        return [], []
    force, purpose = project.erasures.erased(), project.config.project.purpose
    back, gone = list[str](), list[str]()
    for subject in dict.fromkeys(one.subject for one in records):
        time = erased.get(project.erasures.digest(subject))
        if time is None:
            continue
        known = {*project.consents.of(subject), *(one for one in records if one.subject == subject)}
        about = [one for one in known if one.purpose == purpose]
        latest = max(about, key=lambda one: one.order, default=None)
        since = datetime.datetime.fromisoformat(time)
        is_given = (
            latest is not None
            and latest.given
            and datetime.datetime.fromisoformat(latest.time) > since
        )
        if is_given and force.has(subject):
            back.append(subject)
        if not is_given and not force.has(subject):
            gone.append(subject)
    return back, gone


@operation("consent:read")
def show(project: Wiring, subject: str | Callable[[], str]) -> ShownConsent:
    """What is known of one person's consent; looking is recorded, by pseudonym.

    Args:
        project: whose.
        subject: the person's identifier, exactly as the table has it, or what asks for it.

    Raises:
        AccessDenied: policy. DataError: the identifier is empty or too long.
    """
    acting = show.ask(project)
    found = _shown(project, _pseudonym(project, subject))
    acting.record("consent:shown", f'Subject::"{found.subject}"', records=len(found.records))
    return found


def _pseudonym(project: Wiring, subject: str | Callable[[], str]) -> str:
    identifier = identifier_of(subject)
    return project.identifiers.root().pseudonym(identifier)


def _shown(project: Wiring, pseudonym: str) -> ShownConsent:
    records = project.consents.of(pseudonym)
    latest = {one.purpose: one for one in records}  # in the order in which they count
    bases = project.config.privacy.basis
    return ShownConsent(
        subject=pseudonym,
        records=records,
        covered={
            purpose: one.covers(bases[purpose].texts if purpose in bases else ())
            for purpose, one in latest.items()
        },
    )


@operation("consent:write")
def withdraw(
    project: Wiring,
    subject: str | Callable[[], str],
    purpose: str = "",
    *,
    at: datetime.datetime | None = None,
    source: str = "",
) -> ShownConsent:
    """Take one person's consent back: from the next run on their rows are left out.

    Args:
        project: whose.
        subject: the person's identifier, or what asks for it.
        purpose: which; default: the project's.
        at: when they said so; default: now.
        source: where they said it.

    Raises:
        AccessDenied: policy. ConfigError: the time lies ahead, has no zone or cannot be told in
            UTC. DataError: the identifier is empty or too long, or purpose or source are none.
    """
    acting = withdraw.ask(project)
    now = project.clock.now()
    if at is not None and (at.tzinfo is None or at > now):
        raise ConfigError("the time lies ahead or has no zone", hint="--at 2026-03-01T09:30:00Z")
    try:
        time = instant(at or now)
    except ValueError as error:
        raise ConfigError(str(error), hint="--at 2026-03-01T09:30:00Z") from error
    purpose = purpose or project.config.project.purpose
    for text in (purpose, source):
        if len(text) > consentfile.MOST_TEXT or not text.isprintable():
            raise DataError(
                f"purpose and source have at most {consentfile.MOST_TEXT} printable characters"
            )
    one = Consent(
        subject=_pseudonym(project, subject),
        purpose=purpose,
        time=time,
        given=False,
        text="",
        source=source,
    )
    with acting.transaction() as tx:
        batch, new = project.consents.add(tx, [one])
        _, gone = _consented_anew(project, [one])
        project.erasures.add(tx, gone, "erased", WITHDRAWN)
        acting.append(tx, "consent:withdrawn", ABOUT, purpose=purpose, batch=batch if new else 0)
    if gone:
        project.erasures.save()
    return _shown(project, one.subject)


@operation("consent:read")
def export(project: Wiring, path: Path | str) -> int:
    """Write the register for others as JSON-LD in the Data Privacy Vocabulary, readable by its
    owner alone; how many records it has. People are in it by pseudonym.

    Raises:
        AccessDenied: policy. ConfigError: the file is there already.
    """
    acting = export.ask(project)
    path = Path(path)
    if path.exists():
        raise ConfigError(f"{path} exists already", hint="name a new file")
    records = project.consents.all()
    config = project.config
    write_atomic(path, dpv.document(config.project, config.privacy, records, project.clock.now()))
    acting.record("consent:exported", ABOUT, records=len(records))
    return len(records)


def withdrawn_since(project: Wiring, model: Registered) -> int | None:
    """How many people whose rows a model was made of have withdrawn their consent to its purpose;
    None where it is not known whose rows those are.
    """
    lineage = model.release.lineage
    if (lineage.dataset, lineage.dataset_version) not in project.identifiers.rows.known():
        return None
    record = project.engine.record(lineage.run, "data", SealedDataset)
    purpose = project.config.project.purpose
    if record is not None and record.basis is not None:
        purpose = record.basis.purpose
    people = project.consents.withdrawn(purpose)
    return project.identifiers.rows.among(lineage.dataset, lineage.dataset_version, people)


@reading("model:list")
def withdrawn(project: Wiring, model: str) -> int | None:
    """How many people whose rows a model was made of have withdrawn their consent since; None where
    it is not known whose they are.

    Args:
        project: whose.
        model: `NAME@VERSION`, or `NAME` for the newest that passed.

    Raises:
        AccessDenied: policy. ConfigError: there is no such model.
    """
    return withdrawn_since(project, project.registry.get(model))


class ConsentOf(Noun):
    """The register of consent of a project, by its verbs."""

    add = add
    show = show
    withdraw = withdraw
    withdrawn = withdrawn
    export = export
