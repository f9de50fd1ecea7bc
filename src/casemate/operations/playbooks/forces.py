"""Playbooks in force: what lies in `playbooks/` does nothing until somebody who may do all of its
steps puts it in force.
"""

from pathlib import Path

from casemate.controls.access.policy import Resource
from casemate.core.digest import sha256
from casemate.core.errors import AccessDenied, ConfigError
from casemate.core.files import directly, write_atomic
from casemate.core.types import Record
from casemate.operations.acting import operation, reading
from casemate.respond.playbooks import book, runs
from casemate.respond.playbooks.book import MOST_BYTES, Playbook
from casemate.respond.playbooks.kinds import KINDS
from casemate.respond.playbooks.runs import PLAYBOOKS, InForce, NoPlaybook
from casemate.wiring import Wiring

FOLDER = "playbooks"
STARTER = Path(book.__file__).parent / "starter"
MOST_FILES = 100


class Listed(Record, frozen=True, kw_only=True):
    """A playbook, and whether it is in force."""

    name: str
    title: str
    state: str
    """`in force`, `changed` (the file is another than the one in force), `new`, `gone` (its file
    is), or what is wrong with the file.
    """
    automatic: bool
    steps: list[str]
    """What they do, in order."""
    author: str
    """Who put it in force."""
    applied: str
    """When."""


class Checked(Record, frozen=True, kw_only=True):
    """What was found in the folder."""

    playbooks: list[str]
    shipped: list[str]
    """Names of starters that could be copied there."""


def files(project: Wiring) -> dict[str, bytes]:
    """Content of `playbooks/*.toml` by name; ConfigError: too many or too long."""
    found: dict[str, bytes] = {}
    for path in directly(project.root / FOLDER, ".toml"):
        if len(found) == MOST_FILES:
            raise ConfigError(f"{FOLDER}/ has more than {MOST_FILES} files", hint="remove some")
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path} has more than {MOST_BYTES} bytes", hint="shorten it")
        found[path.stem] = path.read_bytes()
    return found


@reading("playbook:read")
def check(project: Wiring) -> Checked:
    """Read every file of `playbooks/`; nothing is put in force.

    Raises:
        AccessDenied: policy. ConfigError: one is no playbook, with its line.
    """
    found = files(project)
    for name, content in found.items():
        book.read(name, content)
    return Checked(playbooks=sorted(found), shipped=sorted(starters()))


def starters() -> dict[str, bytes]:
    """Playbooks that ship with casemate, by name."""
    return {path.stem: path.read_bytes() for path in sorted(STARTER.glob("*.toml"))}


def copy(project: Wiring, names: list[str]) -> list[Path]:
    """Write starters to `playbooks/`, to be read, changed and put in force; returns the files.

    Raises:
        ConfigError: there is no such starter, or a file of its name.
    """
    known = starters()
    paths = [project.root / FOLDER / f"{name}.toml" for name in names]
    for name, path in zip(names, paths, strict=True):
        if name not in known:
            raise ConfigError(f"no starter is called {name!r}", hint=", ".join(known))
        if path.exists():
            raise ConfigError(f"{path} exists already", hint="remove or rename it first")
    for name, path in zip(names, paths, strict=True):
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, known[name])
    return paths


@operation("playbook:apply")
def apply(project: Wiring) -> list[str]:
    """Put the files of `playbooks/` in force as they are now, and those that are gone out of it;
    returns the names of what changed. A run that goes on ends as it began.

    Raises:
        AccessDenied: policy, or a step needs a right that whoever puts it in force does not have.
            ConfigError: one is no playbook, with its line.
    """
    acting = apply.ask(project)
    found = files(project)
    for name, content in found.items():
        _require_rights(project, name, content)
    changed = []
    with acting.transaction() as tx:
        known = runs.in_force(tx)
        for name in sorted(found.keys() | known.keys()):
            fresh = found.get(name)
            before = known.get(name)
            if fresh is not None and before is not None and before.content == fresh:
                continue
            tx.execute(PLAYBOOKS.delete().where(PLAYBOOKS.c.name == name))
            digest = "" if fresh is None else sha256(fresh)
            if fresh is not None:
                row = {"content": fresh, "digest": digest, "author": acting.uid}
                tx.execute(
                    PLAYBOOKS.insert().values(
                        name=name, applied=project.clock.now().isoformat(), **row
                    )
                )
            acting.append(tx, "playbook:applied", f'Playbook::"{name}"', digest=digest)
            changed.append(name)
    return changed


def _require_rights(project: Wiring, name: str, content: bytes) -> None:
    """AccessDenied where a step could do what its author may not."""
    for place, step in enumerate(book.read(name, content).steps):
        kind = KINDS[step.do]
        about = "" if kind.resource == "Project" else step.aim.partition("@")[0]
        if about.startswith("$"):  # nobody knows yet; rights are seldom by name
            about = project.config.project.name
        _, decision = project.point.decide(kind.action, Resource(kind.resource, about))
        if not decision.allowed:
            who, line = project.point.actor.uid, book.step_line(content, place)
            raise AccessDenied(
                f"playbooks/{name}.toml:{line}: step {step.name!r} needs {kind.action}, which {who}"
                f" does not have ({', '.join(decision.reasons)})",
                hint="somebody who may do all of its steps puts it in force",
            )


@reading("playbook:read")
def listing(project: Wiring) -> list[Listed]:
    """Every playbook of the folder, and every one in force; AccessDenied: policy."""
    found = files(project)
    with project.database.reading() as tx:
        known = runs.in_force(tx)
    return [_listed(name, found.get(name), known.get(name)) for name in sorted({*found, *known})]


def _listed(name: str, content: bytes | None, known: InForce | None) -> Listed:
    state = "new" if known is None else "gone" if content is None else "in force"
    if known is not None and content is not None and known.content != content:
        state = "changed"
    said: Playbook | None = None
    try:
        said = book.read(name, content if content is not None else known.content if known else b"")
    except ConfigError as error:
        state = error.message
    return Listed(
        name=name,
        title="" if said is None else said.title,
        state=state,
        automatic=said is not None and said.automatic,
        steps=[] if said is None else [one.do for one in said.steps],
        author="" if known is None else known.author,
        applied="" if known is None else known.applied,
    )


@reading("playbook:read")
def show(project: Wiring, name: str) -> Playbook:
    """A playbook in force; AccessDenied: policy. NoPlaybook: it is not."""
    return book.read(name, found(project, name).content)


def found(project: Wiring, name: str) -> InForce:
    """A playbook in force; NoPlaybook: it is not. Whoever calls has asked policy."""
    with project.database.reading() as tx:
        known = runs.in_force(tx).get(name)
    if known is None:
        raise NoPlaybook(
            f"no playbook {name[:60]!r} is in force", hint="casemate playbook apply, then list"
        )
    return known
