"""A new project: its files, key store, catalogue, audit log and owner.

Everything is prepared first and written last, casemate.toml at the very end; on a fault what was
written is removed.
"""

import secrets
import shutil
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from casemate import config as configuration
from casemate.config import FILE_NAME
from casemate.core.errors import ConfigError
from casemate.core.files import make_folder, write_atomic
from casemate.core.home import keystore_folder
from casemate.operations.founding import found, put_in_force
from casemate.operations.scaffold.clinical import clinical
from casemate.operations.scaffold.plan import IN_MEMORY, READING, Plan
from casemate.operations.scaffold.table import from_table
from casemate.operations.scaffold.text import casemate_toml, template
from casemate.wiring import STATE, Wiring

__all__ = ["Plan", "clinical", "create", "from_table", "start"]


def start(
    table: Any,
    *,
    target: str | list[str],
    folder: str | Path = ".",
    subject: str | None = None,
    task: Literal["classification", "regression"] | None = None,
    header: list[str] | None = None,
    passphrase: str | None = None,
    **reading: Any,
) -> Wiring:
    """A new project for a table; `casemate.create`.

    Args:
        table: a path, a folder, a list of paths, a `postgresql://` URL, or a pandas, polars or
            pyarrow table, which is written as Parquet into the project's data folder. A pandas
            index that is more than row numbers becomes a column.
        target: column to predict, or several quantities or labels.
        folder: the project's; it is made where it is missing.
        subject: column that identifies a person.
        task: default: by what the target holds.
        header: names for a text file without a header line.
        passphrase: reference to the passphrase of the key store.
        reading: options of `[data]` that say how the table is read, such as `delimiter`.

    Returns:
        the project; its `keystore.recovery` is to be shown once.

    Raises:
        ConfigError, DataError: the folder holds a project already, or the table cannot be read or
            has no such target.
    """
    from casemate.stages.data.files import columnar, is_url

    unknown = sorted({*reading} - {*READING})
    if unknown:
        raise ConfigError(
            f"casemate.create: there is no option {unknown[0]!r}",
            hint=f"how a table is read: {', '.join(READING)}",
        )
    root, given = Path(folder), table
    if isinstance(table, str | Path):
        given = table if is_url(table) else Path(table)
    elif isinstance(table, list | tuple):
        given = [Path(one) for one in table]
    else:
        given = columnar.settled(columnar.from_memory(table), Path("the table"), [])
    plan = from_table(root, given, target, subject, header, task, reading)
    if isinstance(given, pa.Table):
        plan.files[IN_MEMORY] = columnar.to_parquet(given)
    return create(root, plan, passphrase)


def create(root: Path, plan: Plan, passphrase: str | None = None) -> Wiring:
    """Write the project into `root` and open it; its `keys.recovery` is to be shown once.

    Args:
        root: the new project's folder.
        plan: what goes into it.
        passphrase: reference to the passphrase of its key store; none leaves the keys at mode 0600
            only.

    Raises:
        ConfigError: `root` holds a project already, or the passphrase is too short.
    """
    identifier = f"{plan.name[:48]}-{secrets.token_hex(4)}"
    toml = casemate_toml(plan, identifier, passphrase)
    config = configuration.parse(toml)
    files = {
        "train.py": template(plan.train),
        "policies/README.cedar": template("policies.txt"),
        **plan.files,
    }
    for existing in (FILE_NAME, STATE, *files):
        if (root / existing).exists():
            raise ConfigError(f"{root / existing} exists already", hint="choose another folder")
    made = [root / name for name in files] + [root / STATE, root / FILE_NAME]
    fresh = [path for path in (root, root / "policies", root / "data") if not path.exists()]
    try:
        make_folder(root, 0o755)
        project = found(root, config)
        for name, content in files.items():
            make_folder((root / name).parent, 0o755)
            write_atomic(root / name, content, mode=0o600 if name == IN_MEMORY else 0o644)
        put_in_force(project)
        write_atomic(root / FILE_NAME, toml.encode(), mode=0o644)
    except BaseException:
        for path in (*made, *reversed(fresh), keystore_folder(identifier)):
            (
                shutil.rmtree(path, ignore_errors=True)
                if path.is_dir()
                else path.unlink(missing_ok=True)
            )
        raise
    return project
