"""What is installed where a model is made: names, versions, licences, contents, what needs what.

Sources: Core metadata specifications (https://packaging.python.org/specifications/core-metadata/),
PEP 639 for licences, and `RECORD` (recording installed projects).
"""

import csv
import platform
from collections.abc import Iterator
from email.utils import getaddresses
from functools import cache
from typing import TYPE_CHECKING

from casemate.core.digest import sha256
from casemate.core.installed import distributions, imported, said
from casemate.stages.release.bom.materials import Part

if TYPE_CHECKING:
    from importlib.metadata import Distribution, PackageMetadata

UNTOLD = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}
"""Of `*.dist-info`: who installed it from where, which is nothing of the package's content."""
MOST_LICENCE = 200
"""Characters of a licence's or an author's name: some put a whole text there."""


@cache
def packages() -> tuple[Part, ...]:
    """Every installed distribution, by name."""
    found = imported(distributions())
    names = {key: said(told, "Name") for key, (_, told) in found.items()}
    return tuple(
        _part(key, told, distribution, names) for key, (distribution, told) in sorted(found.items())
    )


def _part(
    key: str, told: "PackageMetadata", distribution: "Distribution", names: dict[str, str]
) -> Part:
    from packageurl import PackageURL

    version = said(told, "Version")
    return Part(
        name=said(told, "Name"),
        version=version,
        licence=_licence(told),
        author=_author(told),
        purl=PackageURL("pypi", None, key, version).to_string(),
        digest=_content(distribution.read_text("RECORD") or ""),
        needs=sorted({names[one] for one in _needs(told) if one in names}),
    )


def _needs(told: "PackageMetadata") -> Iterator[str]:
    """Normalised names of what it requires here, without extras."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    for text in told.get_all("Requires-Dist") or []:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # of very old packages; pip passes over them too
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield canonicalize_name(requirement.name)


def _licence(told: "PackageMetadata") -> str:
    """The licence as its authors declare it: an SPDX expression where it is one."""
    from cyclonedx.spdx import fixup_id

    if expression := said(told, "License-Expression"):
        return expression[:MOST_LICENCE]
    named = " ".join(said(told, "License").strip().partition("\n")[0].split())
    if known := fixup_id(named):
        return str(known)
    classes = [
        text.rpartition(" :: ")[2]
        for text in told.get_all("Classifier") or []
        if text.startswith("License :: ") and not text.endswith(":: OSI Approved")
    ]
    if classes:
        return ", ".join(fixup_id(text) or text for text in classes)[:MOST_LICENCE]
    return "" if named.upper() == "UNKNOWN" else named[:MOST_LICENCE]


def _author(told: "PackageMetadata") -> str:
    """Who its metadata says made it, by name; addresses are left out."""
    for field in ("Author", "Maintainer", "Author-email", "Maintainer-email"):
        names = [
            name or ("" if "@" in address else address)
            for name, address in getaddresses([said(told, field)])
        ]
        if found := ", ".join(name.strip() for name in names if name.strip()):
            return found[:MOST_LICENCE]
    return ""


def _content(record: str) -> str:
    """SHA-256 over the digests of its files as `RECORD` lists them, without scripts, whose first
    line names the environment; empty: it lists none.
    """
    rows = (row for row in csv.reader(record.splitlines()) if len(row) > 1)
    listed = sorted(f"{name},{digest}" for name, digest, *_ in rows if digest and not _untold(name))
    return sha256("\n".join(listed).encode()) if listed else ""


def _untold(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    return name.startswith("..") or (folder.endswith(".dist-info") and file in UNTOLD)


def platform_parts() -> list[Part]:
    """Interpreter and operating system."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        system = {}
    name, version = system.get("NAME") or platform.system(), system.get("VERSION_ID") or ""
    return [
        Part(
            name=platform.python_implementation(),
            version=platform.python_version(),
            kind="platform",
        ),
        Part(name=name, version=version, kind="operating-system"),
    ]
