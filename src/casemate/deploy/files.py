"""Writing what was rendered. What somebody has written into a file stays: both are joined, or the
command says where they contradict each other and writes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from casemate.core.errors import ConfigError
from casemate.core.files import make_folder, write_atomic
from casemate.core.types import Record
from casemate.deploy import state as states
from casemate.deploy.merging import merge


class Written(Record, frozen=True, kw_only=True):
    """What became of a folder."""

    folder: str
    written: list[str]
    """Files that are new, or others than before."""
    kept: list[str]
    """Files that stay as they are."""
    edited: list[str] = []
    """Those among both in which somebody's own lines stand."""
    removed: list[str] = []
    """Files that are rendered no more, and were as they had been rendered."""


@dataclass
class _Plan:
    """What is to be done, before anything is."""

    contents: dict[str, bytes] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def write(
    folder: Path,
    target: str,
    files: Mapping[str, bytes],
    options: Mapping[str, str] | None = None,
    *,
    model: str = "",
    replace: bool = False,
) -> Written:
    """Write files into a folder, beside or into what is there.

    Args:
        folder: made if it is not there.
        target: what they are for.
        files: content by path within it.
        options: what they were rendered with beside the configuration.
        model: `NAME@VERSION sha256:...` if they name one.
        replace: write over what somebody has written.

    Raises:
        ConfigError: somebody's lines and the new ones contradict each other, or a file was there
            before anything was rendered; nothing is written then.
        BackendError: there is no git to join them with.
    """
    state = states.read(folder)
    before = state.targets.get(target)
    plan = _Plan()
    for name, content in files.items():
        path = states.require_inside(folder, name)
        if taken := _taken(folder, path):
            plan.problems.append(f"{taken} is in the way of {name}: move it away")
            continue
        other = next(
            (one for one, last in state.targets.items() if one != target and name in last.files),
            None,
        )
        if other is not None and state.targets[other].files[name].whole != content:
            plan.problems.append(f"{name} is rendered for {other}: take another folder")
            continue
        base = None if before is None or name not in before.files else before.files[name].whole
        _join(plan, name, _content(path), base, content, replace=replace)
    for name, last in (before.files if before else {}).items():
        if name not in files:
            _leave(plan, folder / name, name, last.whole, replace=replace)
    if plan.problems:
        raise ConfigError(
            f"{folder} stays as it is: " + "; ".join(plan.problems),
            hint="render into an empty folder and compare, or give --replace",
        )
    return _done(folder, state, target, files, dict(options or {}), model, plan)


def _join(
    plan: _Plan, name: str, present: bytes | None, base: bytes | None, new: bytes, *, replace: bool
) -> None:
    """Decide what the file `name` will hold."""
    if replace or present is None or present in (new, base):
        plan.contents[name] = new
    elif base is None:
        plan.problems.append(f"{name} is there already, and casemate did not render it")
    elif base == new:
        plan.contents[name] = present
    else:
        merged = merge(base, present, new)
        if merged.conflicts:
            where = ", ".join(merged.conflicts)
            plan.problems.append(f"{name}: what you wrote ({where}) is rendered otherwise now")
        plan.contents[name] = merged.content


def _leave(plan: _Plan, path: Path, name: str, base: bytes, *, replace: bool) -> None:
    """Decide about a file that is rendered no more."""
    present = _content(path)
    if present is None:
        return
    if replace or present == base:
        plan.removed.append(name)
    else:
        plan.problems.append(f"{name} is rendered no more, and you have edited it: move it away")


def _done(
    folder: Path,
    state: states.State,
    target: str,
    files: Mapping[str, bytes],
    options: dict[str, str],
    model: str,
    plan: _Plan,
) -> Written:
    # the state comes last: killed before, the next rendering finds files that are as they shall be
    written = [
        name for name, content in plan.contents.items() if _content(folder / name) != content
    ]
    for name in written:
        make_folder((folder / name).parent, 0o755)
        write_atomic(folder / name, plan.contents[name], mode=0o644)
    for name in plan.removed:
        (folder / name).unlink()
    make_folder(folder, 0o755)
    last = states.Last(options=options, model=model, files=states.keep(files))
    states.write(folder, states.State(targets=state.targets | {target: last}))
    return Written(
        folder=str(folder),
        written=sorted(written),
        kept=sorted(set(plan.contents) - set(written)),
        edited=sorted(name for name, content in plan.contents.items() if content != files[name]),
        removed=plan.removed,
    )


def _taken(folder: Path, path: Path) -> Path | None:
    """What is a folder where a file goes, or none where a folder goes."""
    above = [one for one in path.parents if one.is_relative_to(folder)]
    found = [one for one in above if one.exists() and not one.is_dir()]
    return path if path.is_dir() else next(iter(found), None)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
