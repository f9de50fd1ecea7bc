"""Which files a scan is about: every one below the project's folder, but for what is named here and
in `[scan] exclude`. What cannot be listed or read is named, and so is what links lead to outside.
"""

import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path

MOST_FILES = 200_000
"""Files of a tree; with more the scan says so, and that it could not look."""
MOST_BYTES = 20 * 2**20
"""Of one file of text that is read whole, notebooks too."""
PASSED = (".casemate", ".git", ".hg", ".svn", "__pycache__", "node_modules", ".mypy_cache",
          ".ruff_cache", ".pytest_cache", ".ipynb_checkpoints")  # fmt: skip
"""Folders that are not the user's own text; history is looked at through git itself."""
OWN = (".casemate", ".git")
"""Those that every project has; that another one was passed over, a scan says."""
ENVIRONMENT = "pyvenv.cfg"
"""What lies in virtual environments."""
INSTALLED = ("bin", "include", "lib", "lib64", "share", "Include", "Lib", "Scripts")
"""Folders of one whose packages are dependencies, not code of the project; what else lies there may
be anybody's, since anybody can write a `pyvenv.cfg`.
"""


def listed(
    root: Path, exclude: Sequence[str] = (), most: int = MOST_FILES
) -> tuple[list[str], dict[str, str], list[str]]:
    """(files, what could not be listed -> why, what was left out on purpose).

    Args:
        root: the project's folder.
        exclude: patterns of paths below it, as `[scan] exclude` has them.
        most: files after which it stops.
    """
    files: list[str] = []
    unseen: dict[str, str] = {}
    left: list[str] = []
    links: list[str] = []
    folders = [""]
    while folders:
        below = folders.pop()
        try:
            entries = sorted(os.scandir(root / below), key=lambda entry: entry.name)
        except OSError as error:
            unseen[below or "."] = f"the folder cannot be read: {error.strerror}"
            continue
        is_environment = below and any(entry.name == ENVIRONMENT for entry in entries)
        for entry in entries:
            path = f"{below}/{entry.name}" if below else entry.name
            if is_environment and entry.name in INSTALLED:
                left.append(f"{path}: of a virtual environment")
                continue
            if any(fnmatch.fnmatchcase(path, pattern) for pattern in exclude):
                left.append(f"{path}: [scan] exclude")
                continue
            if entry.name in PASSED and entry.is_dir():
                if (below or entry.name not in OWN) and not _is_cache(root / path):
                    left.append(f"{path}: by its name")
                continue
            why = _file(entry, root, path, folders)
            if why is None:
                files.append(path)
            elif why:
                unseen[path] = why
            elif entry.is_symlink():
                links.append(path)
        if len(files) > most:
            unseen["."] = f"there are more than {most} files; [scan] exclude leaves folders out"
            return sorted(files[:most]), unseen, left
    _follow(root, links, files, unseen, left)
    return sorted(files), unseen, left


def _is_cache(folder: Path) -> bool:
    """Whether a folder is Python's own cache and holds nothing else."""
    if folder.name != "__pycache__" or folder.is_symlink():
        return False
    try:
        return all(name.endswith(".pyc") for name in os.listdir(folder))
    except OSError:
        return False


def _follow(
    root: Path, links: Sequence[str], files: list[str], unseen: dict[str, str], left: list[str]
) -> None:
    """What links inside the tree lead to is looked at where it lies; by the link's name too where
    it is not looked at there, or where its name may make something else of it.
    """
    known, whole = set(files), root.resolve()
    for path in links:
        target = (root / path).resolve()
        if not target.is_relative_to(whole):
            left.append(f"{path}: a virtual environment")
        elif target.is_file():
            is_same = target.suffix == Path(path).suffix == ".py" or target.name == Path(path).name
            if not is_same or str(target.relative_to(whole)) not in known:
                files.append(path)
        elif any(part in PASSED for part in target.relative_to(whole).parts):
            unseen[path] = "it is a link to what is not looked at"


def _file(entry: "os.DirEntry[str]", root: Path, path: str, folders: list[str]) -> str | None:
    """None: a file that counts; a reason why it cannot be looked at; "": nothing to look at."""
    if not path.isprintable():
        return "its name cannot be shown, so nobody could be told of it"
    if entry.is_symlink():
        return _link(root, path)
    if entry.is_dir():
        folders.append(path)
        return ""
    if not entry.is_file():
        return ""  # pipes and sockets hold no text
    return None if os.access(root / path, os.R_OK) else "this user may not read it"


def _link(root: Path, path: str) -> str:
    """What lies inside is looked at where it lies; what lies outside is not the project's, and
    whoever runs it would follow the link.
    """
    try:
        target = (root / path).resolve(strict=True)
    except (OSError, RuntimeError):
        return "it is a link that leads nowhere"
    inside = target.is_relative_to(root.resolve())
    if inside or (target / ENVIRONMENT).is_file():
        return ""
    return "it is a link that leads out of the project"
