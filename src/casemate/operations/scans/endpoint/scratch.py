"""A scratch copy of the gateway: the project's model, policies and options, with keys, catalogue,
log and accounts of its own, on a free port of this machine; gone afterwards.

The project itself is read, and nothing of it is changed: its keys sign, open and wrap nothing for
the copy, but for reading the model.
"""

import contextlib
import functools
import importlib.util
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
import tomlkit

from casemate.config import FILE_NAME, Config, Table
from casemate.controls.access.anomalies import FINDINGS
from casemate.core.errors import Error
from casemate.core.files import directly
from casemate.core.sandbox.mortal import mortal
from casemate.core.store import open_store
from casemate.core.text import clean
from casemate.operations.approved import require_approved
from casemate.operations.rights.kept import require_kept
from casemate.operations.scans.endpoint import accounts
from casemate.operations.scans.endpoint.accounts import Wanted
from casemate.operations.scans.endpoint.vouched import believed
from casemate.operations.serving import live
from casemate.supply.scanners.endpoint import matrix
from casemate.supply.scanners.endpoint.doors import RULES
from casemate.supply.scanners.fault import CouldNotLook
from casemate.supply.scanners.running import Doors, Input, Known, Meter, Target
from casemate.wiring import CATALOG, STATE, Wiring

MEMBERSHIP = ("membership_auc", "label_only_auc", "lira_auc")
ACTIONS = sorted({action for rule in RULES.values() for action in rule.actions})
"""What is asked of the policy engine."""
LISTING = "casemate.serve.listing"
"""`serve` lies above operations: it is asked as a program."""
STEP_SECONDS = 60.0
"""For making the copy's accounts, and for asking which doors there are."""
STOP_SECONDS = 20.0
MOST_TOLD = 2**20
TAKEN = ("project", "data", "train", "privacy", "release", "serve", "access", "watch", "logs")
"""Tables that a gateway heeds; the rest is about training, stores, keys and receivers."""
T = TypeVar("T")
PYTHON = (sys.executable, "-P")


@contextlib.contextmanager
def running(project: Wiring, work: Path, program: Sequence[str] = PYTHON) -> Iterator[Target]:
    """A scratch copy that answers.

    Args:
        project: whose.
        work: an empty folder for it alone.
        program: runs Python.

    Raises:
        CouldNotLook: there is no model that a gateway may serve, or the copy does not come up.
    """
    table = project.config.scan.endpoint
    home, root = work / "home", work / "project"
    for folder in (home, root):
        folder.mkdir(mode=0o700)
    alias, model, reference = _model(project, root / "model")
    scratch = Copy(root, home, program)
    doors = scratch.doors()
    # who is there says nothing of how many questions there are
    nobody = Known(identities=[], served=alias, reference=reference, most_body=0)
    count = len(matrix.probes(doors, nobody, matrix.METHODS))
    wanted = Wanted(
        accounts=matrix.accounts(count),
        roles={name: list(includes) for name, includes in project.point.directory.roles().items()},
        actions=ACTIONS,
        served=alias,
        model=model,
        most_body=int(project.config.serve.max_body_mb * 2**20),
        reference=reference,
        certificates=project.config.serve.client_certificates == "require",
    )
    _configured(project, root, wanted)
    known = msgspec.structs.replace(scratch.accounts(wanted), **_told(project, reference))
    with scratch.served(table.start_seconds) as (url, ca, grpc):
        yield Target(
            url=url,
            ca=ca,
            doors=doors,
            known=known,
            meter=Meter(table.seconds, table.requests, table.rate),
            scratch=True,
            anomalies=functools.partial(_anomalies, root / STATE / CATALOG),
            grpc=grpc,
        )


def _model(project: Wiring, folder: Path) -> tuple[str, str, str]:
    """(name that callers use, model, NAME@VERSION) of what is copied into `folder`."""
    serve = project.config.serve
    named = serve.models or {project.config.project.name: project.config.project.name}
    alias, reference = next(iter(named.items()))
    try:
        if project.handed:
            shutil.copytree(project.root / serve.release, folder)
            found = project.registry.list()[0].reference
        else:
            found = reference if "@" in reference else live(project, reference)
            require_approved(project, found)
            require_kept(project, found)
            release = project.registry.get(found).release
            project.registry.export(found, folder, project.approvals.statements(release))
    except (Error, OSError, IndexError) as error:
        why = error.message if isinstance(error, Error) else str(error)
        raise CouldNotLook(
            f"there is no model that a gateway may serve: {why}", hint="casemate run, then again"
        ) from error
    return alias, found.partition("@")[0], found


def _told(project: Wiring, reference: str) -> dict[str, Any]:
    """What its owner knows of the model: inputs, classes, and how well members could be told."""
    registered = project.registry.get(reference).release
    card = project.registry.card(registered)
    inputs = [
        Input(
            name=one.name,
            low=one.min if one.min is not None else 0.0,
            high=one.max if one.max is not None else 1.0,
            categories=one.categories or [],
        )
        for one in card.inputs.features
    ]
    gates = {one.gate: one for one in registered.verdict.gates if one.gate in MEMBERSHIP}
    limits = [
        gate.max
        for name, gate in project.config.gates.items()
        if name in MEMBERSHIP and gate.max is not None
    ]
    return {
        "inputs": inputs,
        "classes": card.inputs.classes,
        "membership": {name: one.value for name, one in gates.items() if one.value is not None},
        "membership_limit": max(limits, default=0.0),
    }


def _anomalies(catalogue: Path, uid: str) -> list[str]:
    """What the copy found unusual of somebody."""
    store = open_store("", catalogue)
    try:
        with store.reading() as tx:
            query = sa.select(FINDINGS.c.message).where(FINDINGS.c.principal == uid)
            return [row.message for row in tx.execute(query)]
    finally:
        store.close()


def _configured(project: Wiring, root: Path, wanted: Wanted) -> None:
    config: Config = project.config
    tables: dict[str, Any] = {name: _said(getattr(config, name)) for name in TAKEN}
    tables["project"]["id"] = f"scan-{os.urandom(6).hex()}"
    keys = root / "keys"
    if project.handed:
        keys.mkdir()
        for number, given in enumerate(config.serve.trusted):
            source = project.root / given
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            copy(source, keys / f"{number}-{source.name}")
        trusted = [f"keys/{one.name}" for one in sorted(keys.iterdir())]
    else:
        shutil.copytree(project.keystore.folder / "public", keys)
        trusted = ["keys"]
    tables["serve"] |= {
        "host": "127.0.0.1",
        "port": 0,
        "names": ["localhost", "127.0.0.1"],
        "models": {wanted.served: wanted.model},
        "release": "model",
        "trusted": trusted,
        "workers": 1,
        "platform": "none",
        "request_log": "",
        "traces": "",
    }
    for name in ("grpc_port", "withdrawn_days"):
        tables["serve"].pop(name, None)
    if config.serve.grpc_port is not None and importlib.util.find_spec("grpc") is not None:
        tables["serve"]["grpc_port"] = 0
    tables["logs"]["requests"] = False
    tables["access"] |= {"policies": "policies", "local": True}
    for name in ("providers", "posture", "breached"):
        tables["access"].pop(name, None)
    if config.access.workloads:
        tables["access"]["workloads"] = believed(config.access.workloads, wanted.accounts)
    source = project.root / config.access.policies
    (root / "policies").mkdir()
    for path in directly(source, ".cedar"):
        shutil.copyfile(path, root / "policies" / path.name)
    (root / FILE_NAME).write_text(tomlkit.dumps(tables), encoding="utf-8")


def _said(table: Table) -> dict[str, Any]:
    """What a table says that is not said anyway."""
    found = {}
    for field in msgspec.structs.fields(table):
        value = getattr(table, field.name)
        if field.default_factory is not msgspec.NODEFAULT:
            usual = field.default_factory()
        else:
            usual = field.default
        if value != usual and value is not None:
            found[field.encode_name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Table):
        return _said(value)
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


class Copy:
    """The processes of the copy."""

    def __init__(self, root: Path, home: Path, program: Sequence[str]) -> None:
        self.root, self.home, self.program = root, home, program

    @property
    def _environment(self) -> dict[str, str]:
        """Its keys lie in a home of its own; nothing of ours goes along."""
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
        return kept | {
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PYTHONNOUSERSITE": "1",
            "OMP_NUM_THREADS": "1",
        }

    def doors(self) -> Doors:
        """What the gateway lists."""
        return self._said(["-m", LISTING], b"", Doors)

    def accounts(self, wanted: Wanted) -> Known:
        """Make keys, catalogue, log and everybody."""
        words = ["-m", accounts.__name__, str(self.root)]
        return self._said(words, msgspec.json.encode(wanted), Known)

    def _said(self, words: list[str], given: bytes, kind: type[T]) -> T:
        try:
            ran = subprocess.run(
                [*self.program, *words],
                input=given,
                capture_output=True,
                env=self._environment,
                cwd=self.root,
                timeout=STEP_SECONDS,
                check=False,
            )
        except (subprocess.TimeoutExpired, OSError) as error:
            raise CouldNotLook(f"{words[1]} did not end: {type(error).__name__}") from error
        if ran.returncode:
            said = clean(ran.stderr.decode(errors="replace").strip()[-250:], 250)
            raise CouldNotLook(f"{words[1]} ended with {ran.returncode}: {said}")
        try:
            return msgspec.json.decode(ran.stdout, type=kind)
        except (msgspec.MsgspecError, ValueError) as error:
            raise CouldNotLook(f"{words[1]} printed something else: {error}") from error

    @contextlib.contextmanager
    def served(self, seconds: float) -> Iterator[tuple[str, Path | None, str]]:
        """(URL, certificate of its authority, HOST:PORT of gRPC) while it runs."""
        words = mortal([*self.program, "-m", "casemate", "serve", "--port", "0"])
        with (self.root / "stderr").open("wb") as errors:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self._environment,
                cwd=self.root,
                start_new_session=True,
            )
            try:
                yield self._announced(process, seconds)
            finally:
                _stop(process)

    def _announced(
        self, process: subprocess.Popen[bytes], seconds: float
    ) -> tuple[str, Path | None, str]:
        end, told = time.monotonic() + seconds, b""
        stream = process.stdout
        assert stream is not None  # noqa: S101 - asked for with PIPE
        waiting = select.poll()  # `select.select` takes no descriptor from 1024 on
        waiting.register(stream, select.POLLIN)
        while (left := end - time.monotonic()) > 0 and len(told) < MOST_TOLD:
            if not waiting.poll(left * 1000):
                break
            more = os.read(stream.fileno(), 65536)
            told += more
            for line in told.decode(errors="replace").splitlines(keepends=True):
                if " at http" in line and line.endswith("\n"):
                    url = next(word for word in line.split() if word.startswith("http"))
                    ca = line.rpartition("CA ")[2].strip().rstrip(")")
                    grpc = [word for word in line.split() if word.startswith("grpc")]
                    at = grpc[0].partition("://")[2] if grpc else ""
                    return url, Path(ca) if url.startswith("https") else None, at
            if not more:
                break
        said = (self.root / "stderr").read_text(errors="replace").strip()[-500:]
        ended = f"ended with {process.poll()}" if process.poll() is not None else "says nothing"
        raise CouldNotLook(
            f"the scratch copy {ended} within {seconds:g} s: {clean(said, 200)}",
            hint="[scan.endpoint] start_seconds",
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End it and whatever it started."""
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
