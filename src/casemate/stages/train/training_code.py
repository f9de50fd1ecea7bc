"""What goes into the confined process: the training code, or an imported model, and the files of
`[train] transformers`.
"""

import glob
from pathlib import Path

from casemate.config import Config
from casemate.controls.federation.cards import MOST_SITES
from casemate.controls.federation.statements import MOST
from casemate.core.digest import sha256, sha256_record
from casemate.core.errors import ConfigError
from casemate.core.signatures import MAX_PAYLOAD
from casemate.ml.own import code as own

MAX_CODE = 16 * 2**20
"""Bytes of all code files together: they are hashed, kept and shown. A judgement: code is smaller,
data among it is not.
"""
RECORD = ".record.json"
STATEMENTS = ".statements"
IMPORTED = {".skops": "imported.skops", ".onnx": "imported.onnx"}


def code_files(root: Path, config: Config) -> dict[str, bytes]:
    """The training code by relative path.

    Raises:
        ConfigError: a file does not exist, lies outside the project, or all of it is larger than 16
            MiB.
    """
    entry = config.train.entry.partition(":")[0]
    paths = [root / entry]
    for pattern in config.train.files:
        found = [
            Path(name)
            for name in sorted(glob.glob(str(root / pattern), recursive=True))
            if Path(name).is_file()
        ]
        if not found:
            raise ConfigError(
                f"[train] files: nothing matches {pattern!r}",
                hint="the path is relative to the project's folder",
            )
        paths += found
    content: dict[str, bytes] = {}
    for path in paths:
        if not path.is_file():
            raise ConfigError(
                f"[train] entry: no such file {path}",
                hint="the path is relative to the project's folder",
            )
        if not path.resolve().is_relative_to(root.resolve()):
            raise ConfigError(
                f"[train] {path} lies outside the project", hint="copy it into the project's folder"
            )
        content[str(path.relative_to(root))] = path.read_bytes()
    if sum(map(len, content.values())) > MAX_CODE:
        raise ConfigError(
            "the training code is larger than 16 MiB", hint="list code files only in [train] files"
        )
    return content


def own_code(root: Path, config: Config) -> dict[str, bytes]:
    """The files of `[train] transformers`, by the names that they have in a model.

    Raises:
        ConfigError: one is not there, lies outside the project, is a link, too large, no plain
            Python, or imports what it may not.
    """
    content = {name: _own_file(root, name) for name in config.train.transformers}
    own.check(content, "" if config.train.model else config.train.entry.partition(":")[0])
    return {own.place_of(name): text for name, text in content.items()}


def _own_file(root: Path, name: str) -> bytes:
    path = root / name
    if Path(name).is_absolute() or not path.resolve().is_relative_to(root.resolve()):
        raise ConfigError(
            f"[train] transformers: {name} lies outside the project",
            hint="copy it into the project's folder",
        )
    if any(place.is_symlink() for place in (path, *path.parents) if place.is_relative_to(root)):
        raise ConfigError(
            f"[train] transformers: {name} is reached by a symbolic link",
            hint="put the file itself into the project's folder",
        )
    if not path.is_file():
        raise ConfigError(
            f"[train] transformers: no such file {path}",
            hint="the path is relative to the project's folder",
        )
    with path.open("rb") as file:
        return file.read(own.MAX_FILE + 1)  # one more tells that it is too large


def _imported(root: Path, name: str) -> dict[str, bytes]:
    """The imported model by the name that the confined process knows it by."""
    path = root / name
    if not path.is_file() or not path.resolve().is_relative_to(root.resolve()):
        raise ConfigError(
            f"[train] model: no such file {path}", hint="casemate model import FILE writes it"
        )
    if path.suffix not in IMPORTED:
        raise ConfigError(
            f"[train] model: {path.name} is no .skops or .onnx file",
            hint="casemate model import FILE converts models of scikit-learn",
        )
    return {IMPORTED[path.suffix]: path.read_bytes()}


def record_beside(root: Path, config: Config) -> bytes | None:
    """The coordinator's record of an imported model that several owners learnt, which lies beside
    it as `NAME.record.json`; None: there is none.
    """
    if config.train.model is None:
        return None
    path = (root / config.train.model).with_suffix(RECORD)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return file.read(MAX_PAYLOAD + 1)  # one more tells that it is too large


def statements_beside(root: Path, config: Config) -> dict[str, bytes]:
    """What sites signed of an imported model, by file: the folder `NAME.statements` beside it."""
    if config.train.model is None:
        return {}
    folder = (root / config.train.model).with_suffix(STATEMENTS)
    found = {}
    files = sorted(path for path in folder.glob("*.json") if path.is_file())
    for path in files[:MOST_SITES]:
        with path.open("rb") as file:
            found[path.name] = file.read(MOST + 1)  # one more tells that it is too large
    return found


def code_digest(root: Path, config: Config) -> str:
    """SHA-256 over the names and contents of the training code, or of the imported model."""
    return digest_of(code_of(root, config))


def code_of(root: Path, config: Config) -> dict[str, bytes]:
    """What the confined process gets: the training code, or the imported model in its place."""
    given = (
        code_files(root, config)
        if config.train.model is None
        else _imported(root, config.train.model)
    )
    taken = own.among(given)
    if taken:
        raise ConfigError(
            f"[train] {next(iter(taken))} lies in a folder called {own.FOLDER!r}, a name that is"
            " kept for [train] transformers",
            hint="rename the folder",
        )
    return given | own_code(root, config)


def digest_of(code: dict[str, bytes]) -> str:
    """SHA-256 over names and contents."""
    return sha256_record({name: sha256(content) for name, content in code.items()})
