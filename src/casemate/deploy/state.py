"""What was rendered last, in the folder itself: what somebody has written since is told from it."""

import base64
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import msgspec

from casemate.core.digest import sha256
from casemate.core.errors import ConfigError
from casemate.core.files import write_atomic
from casemate.core.types import Record

FILE = ".casemate-deploy.json"
FORMAT = 1
MOST = 16 * 1024 * 1024
"""Bytes of the file; rendered files are small."""


class Rendered(Record, frozen=True, kw_only=True):
    """One file as it was rendered."""

    sha256: str
    """Of its content, in hexadecimal."""
    content: str
    """Base64, so that any file fits."""

    @property
    def whole(self) -> bytes:
        """Its content.

        Raises:
            ConfigError: it is not what its digest says.
        """
        try:
            content = base64.b64decode(self.content, validate=True)
        except ValueError:
            content = b""
        if sha256(content) != self.sha256:
            raise ConfigError(
                f"{FILE} was changed: a digest in it does not hold",
                hint=f"take {FILE} from where it was whole, such as your repository",
            )
        return content


class Last(Record, frozen=True, kw_only=True):
    """One target as it was rendered last."""

    options: dict[str, str]
    """What the command was given, so that the same can be rendered again."""
    model: str = ""
    """`NAME@VERSION sha256:...` where the files name a model; else they fit any."""
    files: dict[str, Rendered]
    """By their paths in the folder."""


class State(Record, frozen=True, kw_only=True):
    """All that was rendered into one folder."""

    format: int = FORMAT
    """Version of this file."""
    targets: dict[str, Last] = {}
    """By their names."""


def keep(files: Mapping[str, bytes]) -> dict[str, Rendered]:
    """Files as the state has them."""
    return {
        name: Rendered(sha256=sha256(content), content=base64.b64encode(content).decode())
        for name, content in sorted(files.items())
    }


def read(folder: Path) -> State:
    """What was rendered into `folder`; nothing if the file is not there.

    Raises:
        ConfigError: the file is no such state, or names files outside the folder.
    """
    path = folder / FILE
    try:
        with path.open("rb") as file:
            text = file.read(MOST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return State()
    hint = "take it from where it was whole, such as your repository, or render into a new folder"
    if len(text) > MOST:
        raise ConfigError(f"{path} is larger than anything that casemate writes there", hint=hint)
    try:
        state = msgspec.json.decode(text, type=State)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise ConfigError(f"{path} is nothing that casemate wrote", hint=hint) from None
    if state.format != FORMAT:
        raise ConfigError(
            f"{path} has format {state.format}, and this casemate knows {FORMAT}",
            hint="use the casemate that rendered it, or a newer one",
        )
    for last in state.targets.values():
        for name in last.files:
            require_inside(folder, name)
    return state


def write(folder: Path, state: State) -> None:
    """Keep it, if it is another one."""
    content = state.to_json()
    if not (folder / FILE).is_file() or (folder / FILE).read_bytes() != content:
        write_atomic(folder / FILE, content, mode=0o644)


def require_inside(folder: Path, name: str) -> Path:
    """Where a file of that name is; ConfigError if that is not in the folder, links included."""
    parts = PurePosixPath(name).parts
    path = folder.joinpath(*parts)
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise ConfigError(f"{name!r} is no path in {folder}")
    for one in (path, *path.parents):
        if one == folder:
            return path
        if one.is_symlink():
            raise ConfigError(
                f"{one} is a link, and casemate writes through none",
                hint="put a file or folder in its place",
            )
    raise ConfigError(f"{name!r} is no path in {folder}")
