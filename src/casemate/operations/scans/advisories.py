"""Snapshots of advisories: sign, import, show."""

import contextlib
import os
import shutil
from pathlib import Path

from casemate.core.errors import ConfigError, RefusedError, VerificationError
from casemate.core.files import fsync_folder, make_folder, scratch_folder
from casemate.core.types import Record
from casemate.operations.acting import Noun, operation, reading
from casemate.operations.scans.trusted import kept_in, verifier_of
from casemate.supply.scanners.advisories import (
    NAME,
    Snapshot,
    measured,
    require_young,
    signature_of,
    verified,
)
from casemate.supply.scanners.advisories import sign as signed
from casemate.wiring import Wiring


class Held(Record, frozen=True, kw_only=True):
    """The snapshot that a project has."""

    snapshot: Snapshot | None
    """None: it has none."""
    fault: str = ""
    """Why nothing can be said by it."""


@operation("scan:advisories")
def sign(project: Wiring, file: Path) -> Snapshot:
    """Sign a snapshot for projects that trust this one's keys; `FILE.sig` appears beside it.

    Args:
        project: whose keys sign.
        file: a zip file of OSV entries, such as osv.dev gives.

    Raises:
        AccessDenied: policy. ConfigError: it is no whole snapshot.
    """
    acting = sign.ask(project, file=file.name[:200])
    _require_file(file)
    found = signed(file, project.signer)
    acting.record("scan:advisories-signed", f'Advisories::"{found.sha256}"', taken=found.taken)
    return found


@operation("scan:advisories")
def add(project: Wiring, file: Path) -> Snapshot:
    """Take a snapshot in, whose signature lies beside it as `FILE.sig`.

    Args:
        project: whose.
        file: the snapshot.

    Raises:
        AccessDenied: policy. ConfigError: it is no whole snapshot. VerificationError: who should
            have signed it has not. RefusedError: it is too old, or older than the one here.
    """
    acting = add.ask(project, file=file.name[:200])
    _require_file(file)
    place = kept_in(project)
    make_folder(place.parent)
    with scratch_folder(place.parent) as draft:
        copy = draft / NAME
        shutil.copyfile(file, copy)
        with contextlib.suppress(FileNotFoundError):  # which is told below
            shutil.copyfile(signature_of(file), signature_of(copy))
        said = verified(copy, verifier_of(project))
        if measured(copy) != said:
            raise VerificationError(
                f"{file} does not hold what is signed of it", hint="get it again"
            )
        require_young(said, project.clock.now(), project.config.scan.advisories_within_days)
        before = _here(project)
        if before is not None and said.taken < before.taken:
            raise RefusedError(
                f"{file} is of {said.taken}, older than the snapshot here, of {before.taken}",
                hint="get a newer one",
            )
        # a crash in between leaves two that do not fit, which says nothing and is imported again
        os.replace(copy, place)
        os.replace(signature_of(copy), signature_of(place))
        fsync_folder(place.parent)
    detail = {"taken": said.taken, "count": said.count}
    acting.record("scan:advisories-imported", f'Advisories::"{said.sha256}"', **detail)
    return said


@reading("scan:read")
def show(project: Wiring) -> Held:
    """The snapshot that is here, and whether anything can be said by it; AccessDenied: policy."""
    place = kept_in(project)
    if not place.is_file():
        return Held(snapshot=None, fault="there is none: casemate scan advisories import FILE")
    try:
        said = verified(place, verifier_of(project))
    except VerificationError as error:
        return Held(snapshot=None, fault=error.message)
    try:
        require_young(said, project.clock.now(), project.config.scan.advisories_within_days)
    except RefusedError as error:
        return Held(snapshot=said, fault=error.message)
    return Held(snapshot=said)


def _here(project: Wiring) -> Snapshot | None:
    """The one that is here; None: there is none that verifies."""
    try:
        return verified(kept_in(project), verifier_of(project))
    except (VerificationError, FileNotFoundError):
        return None


def _require_file(file: Path) -> None:
    if not file.is_file():
        raise ConfigError(f"there is no file {file}", hint="a zip file of OSV entries")


class Advisories(Noun):
    """Snapshots of advisories, by their verbs."""

    sign = sign
    add = add
    show = show
