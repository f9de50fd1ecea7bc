"""Reading the file, and what the command line sets instead."""

import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from casemate.config.possible import impossible
from casemate.config.table import FILE_NAME
from casemate.config.whole import Config
from casemate.config.words import explain, nearest
from casemate.core.errors import ConfigError


def load(path: Path, overrides: list[str] | None = None) -> Config:
    """Read `path` and apply `table.key=value` overrides.

    Raises:
        ConfigError: the file is absent, not TOML, or holds something unknown or impossible; every
            problem is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"no {FILE_NAME} in {path.parent}", hint="`casemate init` creates a project here"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text") from error
    return parse(text, overrides)


def locate(path: str | Path = ".", overrides: list[str] | None = None) -> tuple[Path, Config]:
    """(folder, configuration) of the project in the folder `path`, or whose configuration file is
    `path`; ConfigError when there is none.
    """
    path = Path(path)
    file = path if path.is_file() else path / FILE_NAME
    return file.absolute().parent, load(file, overrides)


def parse(text: str, overrides: list[str] | None = None) -> Config:
    """The configuration in `text`; see `load`."""
    try:
        tables = tomllib.loads(text)
        for override in overrides or []:
            _apply(tables, override)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{FILE_NAME} is not valid TOML: {error}", hint="correct that line"
        ) from error
    problems = [f"{path}: a number must be finite" for path in _endless(tables)]
    values: dict[str, Any] = {}
    fields = {field.name: field for field in msgspec.structs.fields(Config)}
    for name, value in tables.items():
        if name not in fields:
            problems.append(f"[{name}]: unknown table{nearest(name, fields)}")
            continue
        try:
            values[name] = msgspec.convert(value, fields[name].type)
        except msgspec.ValidationError as error:
            problems.append(f"[{name}] {explain(str(error), fields[name].type, value)}")
    problems += [
        f"[{name}]: this table is missing"
        for name in ("project", "data", "train")
        if name not in tables
    ]
    if not problems:
        config = Config(**values)
        problems = impossible(config)
        if not problems:
            return config
    raise ConfigError(
        f"{FILE_NAME}: " + "; ".join(problems), hint="`casemate config schema` lists every option"
    )


def _endless(value: Any, path: str = "") -> Iterator[str]:
    """Where there is an infinity or no number: TOML has words for them, and no option a use."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _endless(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _endless(inner, f"{path}[{place}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield path


def schema() -> dict[str, Any]:
    """JSON Schema of the file."""
    return msgspec.json.schema(Config)


FIXED = (
    ["release", "approvals"],
    ["release", "separate"],
    ["data", "subject"],
    ["data", "schema"],
    ["logs", "days"],
    ["logs", "max_megabytes"],
    ["serve", "trusted"],
)
"""What `-s` may not set, beside `[access]`, classes and masks: whoever starts a run would give
themselves rights, or take others' protection; whoever searches lines would forget them; whoever
starts a gateway would say whose models it believes.
"""
FIXED_TABLES = ("access", "feedback", "retrain", "federate")
"""Tables of which `-s` may set nothing: who is trusted, what whoever retrains may spend, and what
others may have asked here.
"""


def _apply(tables: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    path = key.strip().split(".")
    if not separator or len(path) < 2:
        raise ConfigError(
            f"-s {override!r} is not table.key=value", hint="for example -s train.folds=3"
        )
    if (
        path[0] in FIXED_TABLES
        or path in FIXED
        or (path[:2] == ["data", "columns"] and (len(path) < 4 or path[-1] in ("mask", "class")))
    ):
        raise ConfigError(
            f"-s {override!r}: who may do or see what is said in {FILE_NAME} only",
            hint="edit the file, if you may",
        )
    try:
        found = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        found = {}
    # several lines that say more than a value are none, and nothing of them is dropped
    parsed = found["value"] if [*found] == ["value"] else value
    place: Any = tables
    for part in path[:-1]:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise ConfigError(
                f"-s {override!r}: {part} is not a table", hint="for example -s train.folds=3"
            )
    place[path[-1]] = parsed
