"""Checks of keys, certificates and backups."""

import datetime
import os
import stat
from pathlib import Path
from typing import Any

from casemate.controls.keys.keepers import overdue_keys
from casemate.core.digest import sha256_file
from casemate.core.files import below
from casemate.operations.controls.facts import Facts
from casemate.operations.controls.kinds import Seen, check, judged

BACKED_UP = "backup:created"


@check(
    "keys.private",
    "Nobody but its owner can read or write the key store",
    answers="custodian",
    mend="chmod -R go= FOLDER; casemate doctor says which",
)
def private(facts: Facts) -> Seen:
    """Modes of the folder and of every file in it, the public halves apart."""
    folder = facts.project.keystore.folder
    paths = [folder, *(path for path in below(folder) if "public" not in path.parts)]
    open_ = [path.name for path in paths if stat.S_IMODE(os.lstat(path).st_mode) & 0o077]
    fault = f"open to others: {', '.join(sorted(open_)[:5])}" if open_ else ""
    return judged(fault, "it is for its owner alone", looked_at=len(paths), open=len(open_))


@check(
    "keys.protected",
    "Keys are under a passphrase, or kept by a key service",
    answers="custodian",
    mend="casemate keys protect, or a key service",
)
def protected(facts: Facts) -> Seen:
    """A copied key file must not be enough."""
    document = facts.project.keystore.document
    safe = document.provider != "file" or document.slots is not None
    fault = "" if safe else "whoever copies the key file has the keys"
    return judged(fault, facts.project.keystore.protection, provider=document.provider)


@check(
    "keys.rotated",
    "No active key is older than `[keys] max_age_days`",
    answers="custodian",
    mend="casemate keys rotate",
)
def rotated(facts: Facts) -> Seen:
    """Ages of the newest versions."""
    keeper, days = facts.project.keystore.provider, facts.config.keys.max_age_days
    overdue = [one.location for one in overdue_keys(keeper, days, facts.now)]
    created = {name: versions[-1].created for name, versions in keeper.versions().items()}
    fault = f"overdue: {', '.join(overdue)}" if overdue else ""
    return judged(fault, f"none is older than {days} days", created=created)


@check(
    "keys.certificates",
    "No certificate in use, and not the authority's own, ends within `[watch] certificate_days`",
    answers="custodian",
    mend="casemate keys certificate list, then renew",
)
def certificates(facts: Facts) -> Seen:
    """Of each name that certificates were issued for, the one that lasts longest."""
    ends = {"authority": facts.project.keystore.authority.certificate.not_valid_after_utc}
    rows: list[dict[str, Any]] = facts.project.certificates.list()
    for row in rows:
        if row["revoked"]:
            continue
        name = f"{row['kind']} {', '.join(row['names'])}"
        until = datetime.datetime.fromisoformat(row["until"])
        ends[name] = max(ends.get(name, until), until)
    soon = facts.now + datetime.timedelta(days=facts.config.watch.certificate_days)
    late = sorted(name for name, until in ends.items() if until < soon)
    fault = f"{len(late)} of {len(ends)} end soon or have ended" if late else ""
    shown = {"authority": ends["authority"].isoformat(), "certificates": len(ends) - 1}
    return judged(fault, f"none of {len(ends)} does", ending=len(late), **shown)


@check(
    "backup.young",
    "A backup was made within `[controls] backup_days`",
    answers="operator",
    mend="casemate backup create FILE",
)
def young(facts: Facts) -> Seen:
    """The newest one that the log knows."""
    made = facts.walked.newest.get(BACKED_UP)
    if made is None:
        return judged("the log knows of no backup", "", newest=None)
    days = facts.config.controls.backup_days
    late = made.time < facts.before(days=days)
    fault = f"the newest backup was made before {days} days ago, on {made.time[:10]}"
    return judged(fault if late else "", f"made on {made.time[:10]}", newest=made.time)


@check(
    "backup.whole",
    "The newest backup lies in `[controls] backups`, byte for byte as it was written",
    answers="operator",
    mend="look for another copy of it, and casemate backup create FILE",
)
def whole(facts: Facts) -> Seen:
    """Against the digest that the log has of it: a sealed file that is unchanged opens as it would
    have on the day it was made. Whether its recipients still have their passphrases only a drill
    shows.
    """
    made = facts.walked.newest.get(BACKED_UP)
    if made is None:
        return judged("the log knows of no backup", "", newest=None)
    if not facts.config.controls.backups:
        text = "[controls] backups does not say where backups lie"
        return Seen("inconclusive", text, {"newest": made.time})
    digest = str(made.detail.get("sha256", ""))
    if not digest:
        text = "an older casemate made the newest backup and kept no digest of it"
        return Seen("inconclusive", text, {"newest": made.time})
    folder = facts.project.root / facts.config.controls.backups
    name = Path(str(made.detail["file"])).name
    path = folder / name
    if not path.is_file():
        return judged(f"{name} is not there", "", newest=made.time, sha256=digest)
    is_same = sha256_file(path) == digest
    fault = "" if is_same else f"{name} is not what was written"
    return judged(fault, f"{name} is as it was written", newest=made.time, sha256=digest)


CHECKS = (private, protected, rotated, certificates, young, whole)
