"""What casemate renders now, joined with what somebody has written into the file since it was
rendered last: a three-way merge by `git merge-file`, which everybody who keeps such files has.
"""

import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path

from casemate.core.errors import BackendError

MARK = 60
"""Signs of a conflict's marker; git's own seven may stand in a file."""
SECONDS = 20


@dataclass(frozen=True)
class Merged:
    """What came of one file."""

    content: bytes
    """Both together; with conflicts of no use."""
    conflicts: list[str] = field(default_factory=list)
    """Lines of the user's file that cannot be kept, such as `lines 3-5`."""


def merge(base: bytes, mine: bytes, rendered: bytes) -> Merged:
    """Join two descendants of one text.

    Args:
        base: as it was rendered last.
        mine: as the user has it.
        rendered: as it would be rendered now.

    Raises:
        BackendError: there is no git, or it cannot merge them: one is no text.
    """
    with tempfile.TemporaryDirectory() as scratch:
        paths = [Path(scratch) / name for name in ("mine", "base", "rendered")]
        for path, content in zip(paths, (mine, base, rendered), strict=True):
            path.write_bytes(content)
        # neither the user's settings nor those of a repository around may change what comes out
        alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
        words = ["git", "-c", "merge.conflictStyle=merge", "merge-file", "--stdout", "--quiet"]
        try:
            done = subprocess.run(
                [*words, f"--marker-size={MARK}", *paths],
                cwd=scratch,
                env={**os.environ, **alone, "GIT_DIR": os.devnull},
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
        except FileNotFoundError:
            raise BackendError(
                "there is no git, which joins what you wrote with what is rendered now",
                hint="install git, or render into an empty folder and compare",
            ) from None
        except subprocess.TimeoutExpired:
            raise BackendError(f"git merge-file did not end within {SECONDS} s") from None
    # the number of conflicts, at most 127; above that git failed
    if done.returncode > 127:
        raise BackendError("git cannot join the two files: one of them is no text")
    return Merged(done.stdout, _conflicts(done.stdout, mine) if done.returncode else [])


def _conflicts(merged: bytes, mine: bytes) -> list[str]:
    """Where in `mine` the conflicts are. Git names no lines: its answer, with the user's side of
    each conflict, is laid beside the user's file.
    """
    view: list[bytes] = []
    spans: list[tuple[int, int]] = []
    begin, inside, theirs = 0, False, False
    for line in merged.splitlines():
        if line.startswith(b"<" * MARK):
            begin, inside = len(view), True
        elif inside and line.startswith(b"=" * MARK):
            theirs = True
            spans.append((begin, len(view)))
        elif inside and line.startswith(b">" * MARK):
            inside = theirs = False
        elif not theirs:
            view.append(line)
    blocks = SequenceMatcher(None, view, mine.splitlines(), autojunk=False).get_matching_blocks()

    def place(at: int) -> int:
        before = [block for block in blocks if block.a <= at]
        return at if not before else before[-1].b + min(at - before[-1].a, before[-1].size)

    return [_named(place(first), last - first) for first, last in spans]


def _named(at: int, length: int) -> str:
    if length == 0:
        return f"before line {at + 1}, where lines are gone"
    return f"line {at + 1}" if length == 1 else f"lines {at + 1}-{at + length}"
