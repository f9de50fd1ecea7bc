"""A copy of the key store beside a catalogue that others share: whether it has what they have.

`casemate keys rotate` writes into the key store where it runs. Another host keeps its own copy, and
goes on with data keys that it has opened; what is wrapped under a newer version it cannot open, and
what it wraps itself is under one that is being left.
"""

import contextlib
from collections.abc import Iterator

from casemate.controls.audit.bodies import KEK as AUDIT
from casemate.controls.keys.file import FileKeys
from casemate.controls.keys.identity import IDENTITY
from casemate.controls.keys.subjects import KEK as SUBJECTS
from casemate.core.errors import BackendError
from casemate.wiring import Wiring


def require_current(project: Wiring) -> None:
    """See that this key store has every version that keys in the catalogue are wrapped under.

    What is in the bucket and in tables is not looked at: a model whose key is missing is refused
    when it is verified. Of a key server there is one for all, and no copy.

    Raises:
        BackendError: it lacks one, or the catalogue is away.
    """
    keys = project.keystore.provider
    if not isinstance(keys, FileKeys):
        return
    shared: dict[str, int] = {}
    for key, wrapped in _in_catalogue(project):
        shared[key] = max(shared.get(key, 0), keys.version_of(wrapped))
    here = {key: versions[-1].number for key, versions in keys.current().items()}
    behind = [
        f"{key!r} is at version {number}, and here {here.get(key, 0)} is the last"
        for key, number in sorted(shared.items())
        if number > here.get(key, 0)
    ]
    if behind:
        raise BackendError(
            f"this copy of the key store is behind the catalogue: {'; '.join(behind)}",
            hint=f"the key custodian: copy {keys.folder} anew from where keys were rotated",
        )


def _in_catalogue(project: Wiring) -> Iterator[tuple[str, bytes]]:
    with project.database.reading() as tx:
        yield from ((AUDIT, wrapped) for _, wrapped in project.log.bodies.wrapped(tx))
        yield from ((IDENTITY, wrapped) for _, wrapped in project.point.factors.wrapped(tx))
        with contextlib.suppress(BackendError):  # restored without them
            root = project.log.subjects.wrapped_root(tx)
            yield from [] if root is None else [(SUBJECTS, root)]
