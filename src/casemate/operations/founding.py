"""What a project has beside its files: keys, catalogue, log, and its first owner."""

import shutil
from pathlib import Path

from casemate import config as configuration
from casemate.config import Config
from casemate.controls.access.own import read_folder
from casemate.controls.access.policy import Policy
from casemate.controls.keys.store import KeyStore
from casemate.core.errors import ConfigError
from casemate.core.files import make_folder, write_atomic
from casemate.core.home import keystore_folder
from casemate.core.secrets import read_secret
from casemate.core.store import open_store
from casemate.wiring import CATALOG, STATE, Wiring


def begin(path: str | Path, overrides: list[str] | None = None) -> bool:
    """Make the keys, catalogue, log and owner of a gateway that serves what was handed over
    (`[serve] release`), where there are none yet; returns whether they were made.

    Args:
        path: the folder with its casemate.toml, or that file.
        overrides: instead of what the file says.

    Raises:
        ConfigError: they cannot be made here. BackendError: there are keys of this project, and no
            catalogue.
    """
    root, config = configuration.locate(path, overrides)
    state = root / STATE
    if not config.serve.release or config.store.url or (state / CATALOG).is_file():
        return False
    if config.keys.provider != "file":
        raise ConfigError(
            f"[keys] provider: a gateway that begins here makes keys in files, not in"
            f" {config.keys.provider}",
            hint="leave [keys] provider out, begin, then: casemate keys migrate",
        )
    if state.exists() and any(state.iterdir()):
        raise ConfigError(
            f"{state} holds something else and no {CATALOG}", hint="name a folder that is not used"
        )
    keys = keystore_folder(config.project.id)
    if keys.exists():  # of another project, or of one whose catalogue was lost
        raise ConfigError(
            f"{keys} holds the keys of a project, and {root} has no catalogue of it",
            hint="give the gateway a [project] id of its own",
        )
    there = state.exists()
    try:
        with found(root, config) as project:
            put_in_force(project)
    except BaseException:
        for made in [*(state.iterdir() if there else (state,)), keys]:
            if made.is_dir():
                shutil.rmtree(made, ignore_errors=True)
            else:
                made.unlink(missing_ok=True)
        raise
    return True


def found(root: Path, config: Config) -> Wiring:
    """Keys, catalogue, log and owner of a project whose files are there."""
    reference, identifier = config.keys.passphrase, config.project.id
    keys = KeyStore.create(
        keystore_folder(identifier), identifier, read_secret(reference) if reference else None
    )
    state = make_folder(root / STATE)
    write_atomic(state / ".gitignore", b"*\n")
    write_atomic(state / "lock", b"")
    store = open_store(config.store.url, state / CATALOG, config.store.password)
    store.upgrade()
    store.close()
    project = Wiring(root, config)
    project.keystore = keys
    with project.database.transaction() as tx:
        project.log.create(tx)
        owner = project.point.directory.add_owner(tx)
        detail = {"name": config.project.name, "purpose": config.project.purpose}
        project.log.append(
            tx, owner.uid, "project:create", f'Project::"{config.project.id}"', "done", detail
        )
    project.log.publish()
    project.publish_keys()
    return project


def put_in_force(project: Wiring) -> None:
    """Apply the policies in the files of a new project."""
    texts = read_folder(project.point.options.folder)
    with project.database.transaction() as tx:
        project.point.applied.apply(
            tx,
            Policy(texts, project.config.project.id),
            texts,
            project.point.identify().principal.uid,
        )
