"""Advisories that tests make."""

import json
import zipfile

from casemate.supply.scanners import advisories


def advisory(name, package, events=None, now=None, **more):
    """An OSV entry about a package."""
    affected = {"package": {"ecosystem": "PyPI", "name": package}}
    if events is not None:
        affected["ranges"] = [{"type": "ECOSYSTEM", "events": events}]
    if "versions" in more:
        affected["versions"] = more.pop("versions")
    modified = (now.isoformat() if now else "2026-11-20T00:00:00+00:00").replace("+00:00", "Z")
    return {"id": name, "modified": modified, "affected": [affected], **more}


def snapshot(folder, entries):
    """A zip file of them."""
    folder.mkdir(exist_ok=True)
    path = folder / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for entry in entries:
            archive.writestr(f"{entry['id']}.json", json.dumps(entry))
    return path


def signed_snapshot(folder, entries, signer):
    """One with its statement."""
    path = snapshot(folder, entries)
    advisories.sign(path, signer)
    return path
