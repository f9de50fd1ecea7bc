"""The plan of a table: a TOML file, and what the command line says instead."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from casemate.config.deidentify import DeidentifyTable
from casemate.config.words import explain
from casemate.core.errors import ConfigError

MOST = 10 * 1024 * 1024
"""Bytes of a plan: a hierarchy of every ICD-10 code is about 5 MB."""


def plan_of(file: Path | None = None, said: Mapping[str, Any] | None = None) -> DeidentifyTable:
    """The plan.

    Args:
        file: TOML, its keys those of `DeidentifyTable`.
        said: options in place of the file's; entries of tables are added to the file's.

    Raises:
        ConfigError: the file is no TOML, or says something unknown or impossible.
    """
    told: dict[str, Any] = {}
    if file is not None:
        with file.open("rb") as opened:
            content = opened.read(MOST + 1)
        if len(content) > MOST:
            raise ConfigError(f"{file} is larger than {MOST} bytes", hint="give a shorter plan")
        try:
            told = tomllib.loads(content.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file} is not valid TOML: {error}", hint="correct it") from error
    for name, value in (said or {}).items():
        told[name] = {**told.get(name, {}), **value} if isinstance(value, dict) else value
    try:
        return msgspec.convert(told, DeidentifyTable)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"the plan: {explain(str(error), DeidentifyTable, told)}",
            hint="`casemate privacy deidentify --help` lists the options",
        ) from error
