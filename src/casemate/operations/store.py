"""The catalogue and the objects: where they are, to this version, to another place."""

import contextlib
import shutil
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from casemate.controls.audit.bodies import Bodies
from casemate.controls.keys.objects import ObjectStore
from casemate.controls.keys.upgrade import upgrade_keys
from casemate.core.blobs import require_conditions
from casemate.core.errors import BackendError, ConfigError
from casemate.core.files import alone
from casemate.core.home import keystore_folder
from casemate.core.store import open_store
from casemate.core.store.interface import MOVED, REVISION
from casemate.core.types import Record
from casemate.operations.acting import Noun, operation, reading
from casemate.operations.toml import edited
from casemate.wiring import CATALOG, Wiring

PLACE = ("objects", "endpoint", "region", "access_key", "secret_key")
"""The settings of `[store]` that say where objects lie."""


class Shown(Record, frozen=True, kw_only=True):
    """What the catalogue is and holds."""

    store: str
    """Where it is, without a password."""
    revision: str | None
    """Of its tables."""
    rows: dict[str, int]
    """By table."""
    objects: str
    """Where the sealed objects are."""


@reading("store:read")
def show(project: Wiring) -> Shown:
    """Where the catalogue is, and what it holds; AccessDenied: policy."""
    database = project.database
    objects = project.config.store.objects or str(project.state / "objects")
    return Shown(
        store=database.name, revision=database.revision(), rows=database.counts(), objects=objects
    )


@operation("store:upgrade")
def upgrade(project: Wiring) -> tuple[str | None, str | None]:
    """Bring key store and catalogue of an older casemate to this one; returns the revisions
    (before, after).

    An older catalogue cannot be asked who may do what: policy is asked, and what was done recorded,
    once it is upgraded.

    Raises:
        AccessDenied: policy.
    """
    before = project.database.revision()
    bring_up_to_date(project)
    after = project.database.revision()
    upgrade.ask(project, before=before, after=after)
    return before, after


def bring_up_to_date(project: Wiring) -> None:
    """The upgrade itself, of a catalogue that nobody can be asked in yet: one that comes out of a
    backup, or is about to be asked.
    """
    project.keystore = upgrade_keys(
        keystore_folder(project.config.project.id), project.config.project.id, project.config.keys
    )
    project.database.upgrade(Bodies(project.keystore.provider).seal)
    with project.database.transaction() as tx:
        project.database.row_digests.adopt(tx)


@operation("store:migrate")
def move(project: Wiring, url: str, password: str | None) -> dict[str, int]:
    """Move the catalogue to the empty database at `url`, verify it, and point casemate.toml there;
    returns rows per table.

    The old catalogue is fenced: a process that still has it open cannot go on writing to it. What
    interrupts this later than the fence is made good by the same call again, on a project that was
    opened without `check`.

    Args:
        project: whose catalogue.
        url: as in `[store] url`; empty for a new SQLite catalogue in `.casemate`.
        password: reference to the database password.

    Raises:
        AccessDenied: policy.
        BackendError: the target holds data, cannot be reached, or is the store in use.
    """
    from casemate.core.store.move import copy_rows

    fenced = project.database.revision() == MOVED
    if not fenced:
        project.database.check()
    decides = _opened_at(project, url, password) if fenced else project
    # Never the whole URL goes into the log: it may hold a password.
    to = urlsplit(url).hostname or url.partition(":")[0] or "sqlite"
    move.ask(decides, to=to)
    if fenced:
        decides.close()
    if url == project.config.store.url:
        raise ConfigError("the catalogue is there already", hint="name another database")
    target = open_store(url, project.catalog, password, project.read_secret)
    try:
        there = target.revision() if url or project.catalog.exists() else None
        if fenced:
            if there != REVISION:
                raise BackendError(
                    f"{target.name} is not where this catalogue was moved to",
                    hint="name the database of the first try",
                )
            counts = target.counts()
        else:
            # An empty catalogue of this version is what a failed move leaves; `copy_rows` refuses
            # one with rows.
            if there not in {None, REVISION}:
                raise BackendError(
                    f"{target.name} holds a catalogue already",
                    hint="move into an empty database or schema" if url else "move it away",
                )
            target.upgrade()
            counts = copy_rows(project.database, target, fence=True)
    finally:
        target.close()
    _point_to(project, url, password)
    project.database.close()
    if url:
        set_aside(project)
    return counts


def _opened_at(project: Wiring, url: str, password: str | None) -> Wiring:
    """This project with its catalogue at `url`: an earlier move ended behind the fence, and whoever
    finishes it is known there.
    """
    store = msgspec.structs.replace(project.config.store, url=url, password=password)
    return Wiring(project.root, msgspec.structs.replace(project.config, store=store), project.clock)


def _point_to(project: Wiring, url: str, password: str | None) -> None:
    """Let casemate.toml name another catalogue."""
    with edited(project.root) as document:
        table = document.setdefault("store", {})
        for name, value in (("url", url), ("password", password)):
            if value:
                table[name] = value
            else:
                table.pop(name, None)
        if not table:
            document.remove("store")


def left_behind(project: Wiring) -> bool:
    """Whether a SQLite catalogue lies here that was moved to the one in use."""
    return bool(project.config.store.url) and project.catalog.is_file() and _moved_away(project)


def _moved_away(project: Wiring) -> bool:
    old = open_store("", project.catalog)
    try:
        return old.revision() == MOVED
    finally:
        old.close()


def set_aside(project: Wiring) -> None:
    """Put the SQLite catalogue that was moved elsewhere out of the way, without anything of the
    subjects' keys in it; one in use stays.
    """
    from casemate.core.store.sqlite import vacuum

    if project.catalog.is_file() and not _moved_away(project):
        raise ConfigError(
            f"{project.catalog} was not moved to another database",
            hint="casemate store migrate URL",
        )
    vacuum(project.catalog)  # nothing of the subjects' keys stays in free pages
    # the file itself last: a second call finishes
    for name in (f"{CATALOG}-wal", f"{CATALOG}-shm", CATALOG):
        with contextlib.suppress(FileNotFoundError):
            (project.state / name).rename(project.state / f"moved-{name}")


@operation("store:migrate")
def move_objects(
    project: Wiring,
    settings: dict[str, str],
    progress: Callable[[str, int, int], None] = lambda _text, _done, _total: None,
) -> int:
    """Copy every object to another place, read it back there, and point casemate.toml to it; the
    old copies go last. Returns how many.

    An interrupted move changes nothing but the place that it copied to, and is begun again by the
    next one.

    Args:
        project: whose objects.
        settings: `objects` (empty for `.casemate/objects`), `endpoint`, `region`, `access_key`,
            `secret_key` as in `[store]`.
        progress: hears how far it is.

    Raises:
        AccessDenied: policy.
        BusyError: a run goes on. BackendError: the place is away or ignores conditions.
            VerificationError: an object is damaged.
    """
    place = settings.get("objects") or "files"
    acting = move_objects.ask(project, to=place)
    count = _move_objects(project, settings, progress)
    acting.record("store:objects-moved", 'Project::"objects"', to=place, count=count)
    return count


def _move_objects(
    project: Wiring, settings: dict[str, str], progress: Callable[[str, int, int], None]
) -> int:
    table = msgspec.structs.replace(
        project.config.store, **(dict.fromkeys(PLACE) | {"objects": ""} | settings)
    )
    with alone(project.state / "lock", "moving the objects"):
        old, new = project.objects, ObjectStore(project.blobs(table), project.provider)
        if table.objects == project.config.store.objects:
            raise ConfigError("the objects are there already", hint="name another place")
        require_conditions(new.blobs)
        # an object is there once its key is
        names = sorted(old.blobs.names(), key=lambda name: not name.endswith(".key"))
        for done, name in enumerate(names, 1):
            with old.blobs.open(name) as source, new.blobs.draft() as draft:
                shutil.copyfileobj(source, draft.file)
                draft.commit(name, replace=True)
            progress("objects", done, len(names))
        for digest in old.digests():
            for _ in new.pieces(digest):
                pass
        with edited(project.root) as document:
            section = document.setdefault("store", {})
            for name in PLACE:
                section.pop(name, None)
            section.update({name: value for name, value in settings.items() if value})
        for name in names:
            old.blobs.remove(name)
    return len(new.digests())


class Storage(Noun):
    """Catalogue and objects of a project, by their verbs."""

    show = show
    upgrade = upgrade
    move = move
    move_objects = move_objects
