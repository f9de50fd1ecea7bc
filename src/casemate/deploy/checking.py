"""Whether rendered files still say what the project says, and whether they may be used."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from casemate.config import Config
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError
from casemate.core.types import Record
from casemate.deploy import state as states
from casemate.deploy.interface import Given, Target
from casemate.deploy.targets import TARGETS

How = Literal["unchanged", "edited", "stale", "missing", "foreign"]
SOUND = ("unchanged", "edited")
DEEPEST = 4
"""Levels of folders below the project in which rendered files are looked for."""
SKIPPED = ("node_modules", "__pycache__")


class Judged(Record, frozen=True, kw_only=True):
    """One file."""

    target: str
    file: str
    how: How
    """`unchanged` since it was rendered; `edited`, and what is rendered is the same; `stale`: the
    project would be rendered otherwise now; `missing`; `foreign`: not rendered, and in the way.
    """
    dangers: list[str] = []
    """Why it must not be used as it is."""

    @property
    def sound(self) -> bool:
        """Whether it may be used."""
        return self.how in SOUND and not self.dangers


class Held(Record, frozen=True, kw_only=True):
    """One target in one folder, as it lies there."""

    folder: str
    target: str
    model: str
    """Which model its files are about; "" if about any."""
    files: int
    edited: list[str]
    missing: list[str]


def judge(config: Config, root: Path, folder: Path) -> list[Judged]:
    """Every file of a folder that was rendered, or would be now.

    Args:
        config: of the project.
        root: its folder.
        folder: into which something was rendered.

    Raises:
        ConfigError: nothing was, or it cannot be rendered any more.
    """
    state = states.read(folder)
    if not state.targets:
        raise ConfigError(
            f"nothing was rendered into {folder}: it has no {states.FILE}",
            hint="casemate deploy TARGET FOLDER",
        )
    judged = []
    for name, last in state.targets.items():
        target = _known(name)
        given = Given(config, root, folder, last.options)
        now = target.render(given).files
        for file in sorted({*now, *last.files}):
            path = states.require_inside(folder, file)
            content = path.read_bytes() if path.is_file() else None
            base = last.files.get(file)
            how = _how(now.get(file), None if base is None else base.whole, content)
            dangers = []
            if content is not None:
                dangers = target.dangers(file, content) + target.unfit(given, file, content)
            judged.append(Judged(target=name, file=file, how=how, dangers=dangers))
    return judged


def _how(now: bytes | None, base: bytes | None, content: bytes | None) -> How:
    if content is None:
        return "stale" if now is None else "missing"
    if base is None:
        return "foreign" if content != now else "stale"
    if base != now:
        return "stale"
    return "unchanged" if content == base else "edited"


def held(folder: Path) -> list[Held]:
    """What lies in one folder; nothing is rendered for it."""
    found = []
    for name, last in states.read(folder).targets.items():
        digests = {
            file: sha256(path.read_bytes()) if (path := folder / file).is_file() else None
            for file in last.files
        }
        edited = [
            file
            for file, digest in digests.items()
            if digest not in (None, last.files[file].sha256)
        ]
        found.append(
            Held(
                folder=str(folder),
                target=name,
                model=last.model,
                files=len(digests),
                edited=edited,
                missing=[file for file, digest in digests.items() if digest is None],
            )
        )
    return found


def rendered_folders(root: Path) -> Iterator[Path]:
    """Every folder in and below `root` into which something was rendered."""
    if (root / states.FILE).is_file():
        yield root
    level = [root]
    for _ in range(DEEPEST):
        level = [
            below
            for folder in level
            for below in sorted(folder.iterdir())
            if below.is_dir() and not below.is_symlink() and _looked_into(below)
        ]
        yield from (folder for folder in level if (folder / states.FILE).is_file())


def _looked_into(folder: Path) -> bool:
    return folder.name not in SKIPPED and not folder.name.startswith(".")


def _known(name: str) -> Target:
    if name not in TARGETS:
        raise ConfigError(
            f"{name!r} is nothing that this casemate renders",
            hint="use the casemate that rendered it, or a newer one",
        )
    return TARGETS[name]
