"""`casemate keys shred`: a person's key is destroyed, and everything kept is looked through for
their identifier.

Sealed per subject, an identifier is gone with its key, in every version and in every backup. That
is not all there can be: versions that were sealed before the subject was named hold it under a
column's key, another person's row may name it, and evidence or a model can list it as a category.
Cells of tables are emptied, the version sealed anew; what is signed or written in the log is not
changed but named, and then nobody says "erased".
"""

from collections.abc import Callable

from casemate.core.errors import ConfigError, RefusedError
from casemate.core.files import alone
from casemate.core.types import Record, SealedDataset
from casemate.operations.acting import operation
from casemate.operations.keys.needle import SHORTEST
from casemate.operations.keys.place import Place
from casemate.operations.keys.search import Search, Version
from casemate.operations.persons import require_unheld
from casemate.wiring import Wiring


class Erased(Record, frozen=True, kw_only=True):
    """What an erasure did and what it looked through."""

    subject: str
    """The person's pseudonym."""
    key: bool
    """Whether there was a key, which is destroyed now."""
    looked: dict[str, int]
    """How much was looked through, by kind."""
    sealed: dict[str, int]
    """Version -> rows whose identifiers went with the key (to `look`: would go)."""
    emptied: dict[str, int]
    """Version -> cells that were taken out, because the key does not cover them."""
    readable: list[Place]
    """Where the identifier can still be read."""
    beyond: list[Place]
    """What was not looked through, or is not casemate's to change."""


@operation("keys:shred", "Key")
def erase(
    project: Wiring, subject: str | Callable[[], str], *, look: bool = False, blank: bool = False
) -> Erased:
    """Destroy a person's key, empty what it does not cover, and look for what is left.

    Args:
        project: whose.
        subject: the person's identifier, exactly as the table has it (without white space around
            it), or what asks for it.
        look: change nothing.
        blank: where identifiers were read as numbers, so that several people may have become one,
            empty every cell that may be theirs.

    Raises:
        AccessDenied: policy does not permit it.
        ConfigError: nobody is sealed under this identifier.
        RefusedError: a legal hold keeps them, under this or another identifier of theirs; their key
            was shredded before and nothing else is here, or a version does not tell people apart
            and `blank` is off.
        BusyError: a run goes on.
    """
    acting = erase.ask(project, "subjects", look=look)
    identifier = subject if isinstance(subject, str) else subject()
    if not look:
        pseudonym = project.identifiers.root().pseudonym(identifier.strip())
        require_unheld(acting, pseudonym)
    with alone(project.state / "lock", "erasing a person"):
        if not look:
            require_current(project)
        search = Search(project, identifier.strip())
        state = search.state()
        versions = search.versions()
        _require_something(search, state, versions, look)
        if not look:
            require_certain(versions, blank)
            # The key goes last: a crash before that leaves somebody whom the same command finds.
            for version in versions:
                search.empty(version)
            if state == "live":
                project.log.shred(acting.uid, search.subject)
        emptied = {
            version.name: count
            for version in versions
            if (count := sum((version.cells | version.unsure).values()))
        }
        # Looked for anew, also where everything succeeded: "done" is what is seen, not what was
        # tried.
        readable = search.left(versions if look else search.versions(), look)
        if not look:
            outcome, told = (
                "failed" if readable else "done",
                {
                    "looked": search.looked,
                    "emptied": emptied,
                    "readable": len(readable),
                },
            )
            acting.record("subject:erased", f'Subject::"{search.pseudonym}"', outcome, **told)
    sealed = {
        version.name: version.rows
        for version in versions
        if version.rows and (state == "live" or look)
    }
    return Erased(
        subject=search.pseudonym,
        key=state == "live" and not look,
        looked=search.looked,
        sealed=sealed,
        emptied={} if look else emptied,
        readable=readable,
        beyond=beyond(project, emptied=bool(emptied), short=search.needle is None),
    )


def require_current(project: Wiring) -> None:
    """ConfigError: a version in use would get gaps because its subject is not sealed yet."""
    subject, newest = project.config.data.subject, project.engine.newest_step("data", SealedDataset)
    if newest is not None and subject is not None and newest.subject != subject:
        raise ConfigError(
            f"{newest.name}@{newest.version} was sealed before [data] subject named {subject!r}:"
            " nothing was destroyed",
            hint="`casemate run` seals it anew, then shred",
        )


def _require_something(search: "Search", state: str, versions: list[Version], look: bool) -> None:
    """The identifier must be here at all."""
    if state == "live" or any(version.cells or version.unsure for version in versions):
        return
    if state == "shredded":
        if not look:
            raise RefusedError(
                "this subject's key was shredded before, and no table holds their identifier",
                hint="`casemate keys shred REF --look` looks through everything",
            )
        return
    raise ConfigError(
        "nobody is sealed under this identifier: nothing was destroyed",
        hint=search.written_how(versions),
    )


def require_certain(versions: list[Version], blank: bool) -> None:
    """RefusedError: a version does not tell people apart, and `blank` is off."""
    unsure = [version.name for version in versions if version.unsure]
    if unsure and not blank:
        raise RefusedError(
            f"{', '.join(unsure[:5])}: identifiers were read as numbers there, so several people"
            " may look like this one; nothing was destroyed",
            hint=(
                "`casemate run` seals the newest version anew as text; then --blank empties every"
                " cell of the older ones that may be theirs"
            ),
        )


def beyond(project: Wiring, *, emptied: bool, short: bool) -> list[Place]:
    """What was not looked through: the sources, the backups that the log knows of, and everything
    but tables for a short identifier.
    """
    said = project.config.data.source
    sources = [
        *(said if isinstance(said, list) else [said]),
        *project.config.assess.tables.values(),
    ]
    found = [
        Place(
            where=str(source),
            advice="the next run reads it again: take the person out of the source too",
        )
        for source in sources
    ]
    made = [
        entry
        for entry in project.log.entries()
        if entry.action == "backup:create" and entry.outcome == "allowed"
    ]
    if made:
        newest = (
            f"{len(made)} backups, the newest {made[-1].detail.get('file', '')} of"
            f" {made[-1].time[:10]}"
        )
        advice = (
            "remove all but the newest .subjects file"
            if not emptied
            else "they hold what was taken out of the tables here: make a new one and remove them"
        )
        found.append(Place(where=newest, advice=advice))
    if short:
        where = "objects, evidence, catalogue and log"
        advice = (
            f"not looked through: fewer than {SHORTEST} characters are in any bytes by chance; no"
            " column of a sealed table should list them"
        )
        found.append(Place(where=where, advice=advice))
    return found
