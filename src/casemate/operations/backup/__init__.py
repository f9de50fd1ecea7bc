"""Encrypted backups of a whole project, consistent while runs and the gateway go on, and who can
open them.

A backup is sealed to the recipients that an owner has set (`controls.keys.recipients`), not to
whoever makes it, in up to four files: `FILE` is a tar of the project, whose last member,
`MANIFEST.json`, lists the SHA-256 of every other one; `FILE.subjects` holds the subjects' keys, of
which only the newest copy need ever be kept; `FILE.erased`, once somebody was erased, the register
of erasures, which names nobody; `FILE.keys`, on demand, is a tar of the key store,
sealed to those recipients alone that may open keys. The catalogue is copied first, in one snapshot;
what it refers to is content-addressed or written once, so that copying those files afterwards is
consistent.
"""

from casemate.operations.acting import Noun
from casemate.operations.backup.archive import Contents, keys_of, read, subjects_of
from casemate.operations.backup.creation import create
from casemate.operations.backup.recipients import add_recipient, receivers, remove_recipient
from casemate.operations.backup.restoration import restore
from casemate.operations.backup.subjects import restore_subjects
from casemate.operations.rights.again import erased_of
from casemate.operations.rights.again import last as erased_again

__all__ = [
    "Backups",
    "Contents",
    "add_recipient",
    "create",
    "erased_again",
    "erased_of",
    "keys_of",
    "read",
    "receivers",
    "remove_recipient",
    "restore",
    "restore_subjects",
    "subjects_of",
]


class Backups(Noun):
    """Backups of a project, by their verbs."""

    create = create
    restore_subjects = restore_subjects
    recipients = receivers
    add_recipient = add_recipient
    remove_recipient = remove_recipient
