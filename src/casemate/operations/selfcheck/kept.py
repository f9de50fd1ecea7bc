"""What a project keeps: who may read its keys, and write its configuration and its state."""

import datetime
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from casemate.config import FILE_NAME
from casemate.core.text import listed
from casemate.operations.selfcheck.interface import Look
from casemate.wiring import Wiring

MOST_FILES = 20_000
"""That are looked at in a folder; with more it is not said to be good."""
MOST_NAMED = 5
PUBLIC = "public"
"""Folder of a key store with public keys."""
BACK = datetime.timedelta(seconds=5)
"""How far the clock may be behind the newest entry of the log: those of several hosts differ."""


def keys(project: Wiring) -> Iterator[Look]:
    """Nobody else reads or writes what lies in the key store."""
    yield _folder("key store", project.keystore.folder, 0o077, "chmod -R go-rwx {}")


def state(project: Wiring) -> Iterator[Look]:
    """Nobody else writes what casemate has written."""
    yield _folder("state", project.state, 0o022, "chmod -R go-w {}")


def configuration(project: Wiring) -> Iterator[Look]:
    """Nobody else writes what decides, or puts another folder in its place."""
    paths = [project.root / FILE_NAME, project.root]
    open_ = [path for path in paths if _is_open(path.stat(), 0o022)]
    named = " ".join(map(str, open_))
    yield Look.judged(
        "configuration",
        f"others may write {named}" if open_ else f"{project.root / FILE_NAME}",
        f"chmod go-w {named}; chown to this account",
        good=not open_,
    )
    above = [path for path in project.root.resolve().parents if _is_replaceable(path.stat())]
    yield Look.judged(
        "folders above",
        f"whoever may write {above[0]} may put another project in this one's place"
        if above
        else "belong to this account or to root",
        "a folder whose parents nobody else may write",
        good=not above,
    )


def clock(project: Wiring) -> Iterator[Look]:
    """The clock goes on from where the log says it was."""
    size = project.log.size()
    if not size:
        return
    newest = next(iter(project.log.entries(size - 1)))
    ahead = datetime.datetime.fromisoformat(newest.time) - project.clock.now()
    good = ahead <= BACK
    yield Look.judged(
        "clock: beside the log",
        "goes on from the newest entry" if good else f"is {ahead} behind the newest entry",
        "set the clock: what ended may hold again until it catches up",
        good=good,
    )


def _folder(subject: str, folder: Path, mask: int, advice: str) -> Look:
    """Whether anybody else may do to what lies in a folder what `mask` says; what is public may
    be read.
    """
    open_: list[str] = []
    count = 0
    unseen: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=unseen.append):
        for path in (place, *(os.path.join(place, name) for name in (*folders, *names))):
            count += 1
            is_public = PUBLIC in Path(path).relative_to(folder).parts
            if _is_open(os.lstat(path), 0o022 if is_public else mask):
                open_.append(path)
        if count > MOST_FILES:
            return Look.unseen(subject, f"{folder} has more than {MOST_FILES} files")
    if unseen or not count:
        why = unseen[0].strerror if unseen else "nothing is there"
        return Look.unseen(subject, f"{folder} cannot be read: {why}")
    open_ = list(dict.fromkeys(open_))  # folders are met twice
    return Look.judged(
        subject,
        f"open to other users: {listed(open_, MOST_NAMED)}" if open_ else str(folder),
        advice.format(folder) + "; chown to this account",
        good=not open_,
    )


def _is_open(found: os.stat_result, mask: int) -> bool:
    """Links have no modes of their own."""
    mode = 0 if stat.S_ISLNK(found.st_mode) else stat.S_IMODE(found.st_mode)
    return bool(mode & mask) or found.st_uid not in (os.geteuid(), 0)


def _is_replaceable(found: os.stat_result) -> bool:
    """Whether others may rename what lies in a folder."""
    is_sticky = bool(found.st_mode & stat.S_ISVTX)
    return _is_open(found, 0o022) and not (is_sticky and found.st_uid in (os.geteuid(), 0))


LOOKERS: dict[str, Callable[[Wiring], Iterable[Look]]] = {
    "key store": keys,
    "state": state,
    "configuration": configuration,
    "clock: beside the log": clock,
}
"""What is looked at -> by whom."""
