"""The subjects' keys, which lie in a file of their own: taken out of a backup, and brought back."""

from pathlib import Path

import msgspec
import sqlalchemy as sa

from casemate.controls.keys import sealedfile
from casemate.controls.keys.sealedfile import Opener
from casemate.controls.keys.subjects import ROOT, SUBJECTS, SubjectKeys
from casemate.core.errors import VerificationError
from casemate.core.store.sqlite import SqliteStore, vacuum
from casemate.operations.acting import operation
from casemate.operations.backup.archive import about
from casemate.operations.rights import again
from casemate.wiring import Wiring


class Person(msgspec.Struct, forbid_unknown_fields=True, array_like=True):
    """A row of the subjects' keys."""

    subject: str
    wrapped: bytes | None
    created: str
    shredded: str | None


def without_subjects(snapshot: Path) -> list["Person"]:
    """Take the subjects' keys out of a copy of the catalogue, so that shredding one reaches every
    backup of the data.
    """
    store = SqliteStore(snapshot)
    try:
        with store.transaction() as tx:
            rows = tx.execute(sa.select(SUBJECTS)).all()
            tx.execute(SUBJECTS.update().values(wrapped=None))
    finally:
        store.close()
    vacuum(snapshot)  # nothing of them stays in free pages
    return [Person(row.subject, row.wrapped, row.created, row.shredded) for row in rows]


@operation("backup:restore")
def restore_subjects(project: Wiring, path: Path, opener: Opener) -> int:
    """Bring the subjects' keys back from `FILE.subjects`; who was shredded here or there stays
    shredded. Returns how many rows changed.

    Raises:
        AccessDenied: policy, or the file is sealed to others.
        VerificationError: the file was changed or cut, the passphrase is wrong, or it is another
            project's.
    """
    acting = restore_subjects.ask(project, file=path.name)
    count = bring_back(project, path, opener)
    again.carry_out(project, acting.uid, again.registers_beside(project, path))
    acting.record("backup:subjects", about(project), keys=count)
    return count


def bring_back(project: Wiring, path: Path, opener: Opener) -> int:
    """The same without asking policy, and off the record."""
    with sealedfile.opening(path, "subjects", opener) as stream:
        content = stream.rest()
    try:
        people = msgspec.json.decode(content, type=list[Person])
        (root,) = [
            person.wrapped
            for person in people
            if person.subject == ROOT and person.wrapped is not None
        ]
    except (msgspec.MsgspecError, ValueError) as error:
        raise VerificationError(
            f"{path} holds no subjects' keys", hint="try another copy of it"
        ) from error
    opened = SubjectKeys.opened(root, project.provider, "restore of the subjects' keys")
    count = 0
    with project.database.transaction() as tx:
        # Both roots give pseudonyms: of another project the same person would have another name.
        here = tx.execute(sa.select(SUBJECTS.c.wrapped).where(SUBJECTS.c.subject == ROOT)).scalar()
        if (
            here is not None
            and SubjectKeys.opened(here, project.keystore.provider).pseudonyms != opened.pseudonyms
        ):
            raise VerificationError(
                f"{path} holds the subjects' keys of another project", hint="take this project's"
            )
        for person in people:
            known = tx.execute(
                sa.select(SUBJECTS).where(SUBJECTS.c.subject == person.subject)
            ).first()
            values = {"wrapped": person.wrapped, "shredded": person.shredded}
            if known is None:
                tx.execute(
                    SUBJECTS.insert().values(
                        subject=person.subject, created=person.created, **values
                    )
                )
            # Shredding wins over a key, here as in the copy: an old copy never brings anybody back.
            elif known.shredded is None and (known.wrapped is None or person.shredded is not None):
                tx.execute(
                    SUBJECTS.update().where(SUBJECTS.c.subject == person.subject).values(**values)
                )
            else:
                continue
            count += 1
    return count
