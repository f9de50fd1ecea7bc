"""What git keeps of a project: every version of every file, however long ago it was removed."""

import re
from pathlib import Path

from casemate.supply.scanners.interface import CouldNotLook, Place
from casemate.supply.scanners.place import MOST_BYTES
from casemate.supply.scanners.process import Ran, run
from casemate.supply.scanners.texts import Texts

MOST_BLOBS = 20_000
MOST_TOTAL = 200 * 2**20
"""Versions of files, and bytes of them, that are looked at; with more it says that it could not."""
SETTINGS = (
    "--no-replace-objects",  # which show another content under the same digest
    *("-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"),
    *("-c", "protocol.allow=never"),
)
"""Nothing of the repository's own configuration is run, and nothing is fetched."""
EVERY = ("--all", "--reflog", "--indexed-objects", "--full-history")
"""Without the last, git passes over what a merge came to without, such as with `-s ours`."""
_HEAD = re.compile(rb"([0-9a-f]{40,64}) (\w+) ([0-9]+)\n")


def is_kept(root: Path) -> bool:
    """Whether git keeps the folder."""
    return any((folder / ".git").exists() for folder in (root.resolve(), *root.resolve().parents))


def versions(place: Place, found: Texts) -> int:
    """Add every version of every text to `found`; returns how many there are.

    Raises:
        CouldNotLook: git is absent, the repository is shallow or damaged, or there is too much.
    """
    if _git(place, "rev-parse", "--is-shallow-repository").output.strip() != b"false":
        raise CouldNotLook(
            "the repository has a part of its history only", hint="git fetch --unshallow"
        )
    paths: dict[str, str] = {}
    prefix = _git(place, "rev-parse", "--show-prefix").output.decode(errors="replace").strip()
    listed = _git(place, "rev-list", "--objects", *EVERY, "--", ".")
    for line in listed.output.decode(errors="replace").splitlines():
        digest, blank, path = line.partition(" ")
        if blank:  # what a tag names itself has no path
            paths.setdefault(digest, path.removeprefix(prefix) or f"git object {digest[:12]}")
    chosen = _sized(place, paths)
    content = _contents(place, list(chosen))
    at = 0
    for digest, size in chosen.items():
        head = _HEAD.match(content, at)
        if head is None or head[1].decode() != digest or int(head[3]) != size:
            raise CouldNotLook("git printed something else than it documents", hint="git fsck")
        found.add(paths[digest], content[head.end() : head.end() + size])
        at = head.end() + size + 1
    return len(chosen)


def _sized(place: Place, paths: dict[str, str]) -> dict[str, int]:
    """Blobs among the objects, with their sizes."""
    ran = _git(place, "cat-file", "--batch-check", given=list(paths))
    sizes: dict[str, int] = {}
    for line in ran.output.decode(errors="replace").splitlines():
        digest, kind, *size = line.split(" ")
        if kind == "missing" or not size:
            raise CouldNotLook(f"git has lost the object {digest[:64]}", hint="git fsck")
        if kind == "blob" and int(size[0]) <= MOST_BYTES:
            sizes[digest] = int(size[0])
        elif kind == "blob":
            raise CouldNotLook(
                f"a version of {paths[digest]} is larger than {MOST_BYTES} bytes",
                hint="[scan] history = false looks at the files that are there alone",
            )
    if len(sizes) > MOST_BLOBS or sum(sizes.values()) > MOST_TOTAL:
        raise CouldNotLook(
            f"git keeps {len(sizes)} versions of files, {sum(sizes.values())} bytes: too much",
            hint="[scan] history = false looks at the files that are there alone",
        )
    return sizes


def _contents(place: Place, digests: list[str]) -> bytes:
    return _git(place, "cat-file", "--batch", given=digests).output if digests else b""


def _git(place: Place, *words: str, given: list[str] | None = None) -> Ran:
    stdin = None
    if given is not None:
        stdin = place.folder("given") / "objects"
        stdin.write_text("\n".join(given) + "\n", encoding="ascii")
    ran = run(place, "git", [*SETTINGS, *words], stdin=stdin, ours=False)
    if ran.code:
        raise CouldNotLook(f"git {words[0]} failed: {ran.errors[-200:]}", hint="git fsck")
    return ran
