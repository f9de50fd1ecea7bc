"""A copy of a project to be attacked: its configuration, policies, playbooks, code and rows, with
keys, catalogue and log of its own.

Nothing that is the project's own to lose goes there: no key, no entry, no sealed object. What names
somebody else (receivers of notices, trackers, sinks, witnesses, databases, key servers, identity
providers) is left out, so the copy has nobody to tell.
"""

import shutil
import tomllib
from pathlib import Path
from typing import Any

from msgspec import structs

from casemate.config import FILE_NAME
from casemate.config.reading import ReadingOptions
from casemate.config.target import TargetOptions
from casemate.core.errors import ConfigError
from casemate.core.files import make_folder
from casemate.core.types import Record
from casemate.operations.playbooks.forces import FOLDER as PLAYBOOKS
from casemate.operations.runs import run_context
from casemate.respond.playbooks import runs
from casemate.stages.data import consented, erased, files, schema, source
from casemate.stages.train.training_code import code_files
from casemate.wiring import Wiring

PROJECT, HOME, WORK = "project", "home", "tmp"
"""Folders of the copy: the project, the home with its keys, and room for drafts."""
TABLE = "rows.parquet"
IDENTITY = "drill"
KEPT = (
    *("project", "data", "train", "screen", "privacy", "sandbox", "robustness", "assess", "gates"),
    *("release", "run", "serve", "watch", "logs", "incidents", "access"),
)
"""Tables of casemate.toml that the copy has too; the others name other systems, or are of no use to
an attack.
"""
LEFT_OUT = {
    "data": ("reference",),
    "assess": ("tables",),
    # and who attacks is the user of the machine, without a second factor
    "access": ("providers", "workloads", "breached", "posture", "origin", "local", "mfa"),
    "serve": (
        *("release", "trusted", "traces", "request_log", "platform", "tls", "host", "port"),
        *("names", "certificate", "key", "client_certificates", "workers", "grpc_port"),
        *("approved", "stage", "withdrawn_days"),
    ),
    "incidents": ("gateways",),
}
"""Options of these that name something which is not in the copy."""
BASES = ("basis", "erased", "retention")
"""Options of `[privacy]` about who may be used: the rows of the others are not in the copy."""


class Twin(Record, frozen=True, kw_only=True):
    """A copy that was prepared."""

    rows: int
    differences: list[str]


def prepare(project: Wiring, folder: Path, most: int) -> Twin:
    """Write the files of a copy; keys and catalogue are made where it is attacked.

    Args:
        project: whose.
        folder: new; gets `project`, `home` and `tmp`.
        most: rows of the table that are copied.

    Raises:
        ConfigError, DataError, BackendError: its table or its training code cannot be read, or lies
            outside the project's folder.
    """
    root = make_folder(folder / PROJECT)
    make_folder(folder / HOME)
    make_folder(folder / WORK)
    differences: list[str] = ["keys, catalogue and log are new, and of the copy alone"]
    rows = _rows(project, root / TABLE, most, differences)
    tables = _tables(project, differences)
    (root / FILE_NAME).write_text(_toml(tables))
    _code(project, root)
    _policies(project, root / project.config.access.policies)
    _playbooks(project, root / PLAYBOOKS)
    return Twin(rows=rows, differences=differences)


def _rows(project: Wiring, file: Path, most: int, differences: list[str]) -> int:
    """Rows that may be used, as their file has them; how many there are."""
    import pyarrow.parquet

    config, context = project.config, run_context(project)
    pinned = schema.load(project.root / config.data.schema)
    identifiers = () if pinned is None else pinned.identifiers
    where = files.once(files.place(project.root, config.data.source), config.data)
    table = source.held(where, config.data, [], identifiers)
    people = context.identifiers.candidate()
    if context.erased is not None:
        table = erased.others(table, config, context.erased, people, identifiers)[0]
    table = consented.allowed(table, config, context.usable, people).table
    if table.num_rows > most:
        differences.append(f"{most} of {table.num_rows} rows, evenly from all")
        table = table.take([place * table.num_rows // most for place in range(most)])
    pyarrow.parquet.write_table(table, file)
    return int(table.num_rows)


def _tables(project: Wiring, differences: list[str]) -> dict[str, Any]:
    """casemate.toml of the copy."""
    text = (project.root / FILE_NAME).read_text(encoding="utf-8")
    said: dict[str, Any] = tomllib.loads(text)
    tables: dict[str, Any] = {name: said[name] for name in KEPT if name in said}
    if gone := sorted(said.keys() - tables.keys()):
        differences.append(f"without [{'], ['.join(gone)}]")
    for name, options in LEFT_OUT.items():
        for option in options:
            if tables.get(name, {}).pop(option, None) is not None:
                differences.append(f"without [{name}] {option}")
    read = {one.name for one in structs.fields(ReadingOptions)}
    for option in read - {one.name for one in structs.fields(TargetOptions)} - {"date_format"}:
        tables["data"].pop(option, None)  # the rows are read already
    if tables.get("privacy", {}).keys() & set(BASES):
        for option in BASES:
            tables["privacy"].pop(option, None)
        differences.append("rows of people who may not be used are left out beforehand")
    if tables.get("gates", {}).pop("scan", None) is not None:
        differences.append("without [gates] scan")
    release = tables.setdefault("release", {})
    if release.pop("approvals", 0):
        differences.append("models are served without approvals; attacks on approvals ask for one")
    tables["project"]["id"] = IDENTITY
    tables["data"]["source"] = TABLE
    tables.setdefault("serve", {})["host"] = "127.0.0.1"
    return tables


def _toml(tables: dict[str, Any]) -> str:
    import tomlkit

    return tomlkit.dumps(tables)


def _code(project: Wiring, root: Path) -> None:
    """Files that configuration names, those of patterns too, and the pinned schema."""
    train, data = project.config.train, project.config.data
    if train.model is None:
        names = [*code_files(project.root, project.config), *train.transformers]
    else:
        beside = (project.root / train.model).with_suffix("").glob("*")
        names = [train.entry.partition(":")[0], *train.transformers, train.model]
        names += [str(one.relative_to(project.root)) for one in beside if one.is_file()]
    for name in [*names, data.schema]:
        taken, place = project.root / name, (root / name).resolve()
        if not place.is_relative_to(root.resolve()):
            raise ConfigError(
                f"{name} does not lie in the project's folder, so no copy has it",
                hint="name files within the folder of casemate.toml",
            )
        if taken.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(taken, place)


def _policies(project: Wiring, folder: Path) -> None:
    """Those in force, whatever lies in the project's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in project.point.applied.newest().texts.items():
        (folder / Path(name).name).write_text(text, encoding="utf-8")


def _playbooks(project: Wiring, folder: Path) -> None:
    """Likewise."""
    with project.database.reading() as tx:
        found = runs.in_force(tx)
    for name, one in found.items():
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.toml").write_bytes(one.content)
