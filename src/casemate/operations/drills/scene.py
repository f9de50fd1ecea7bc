"""Where attacks are played: the copy of the project, further copies of it to be broken, and a
gateway that serves one.
"""

import contextlib
import datetime
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import pyarrow.parquet

from casemate.controls.keys.objects import name_of
from casemate.core.blobs.files import FileBlobs
from casemate.core.sandbox.mortal import mortal
from casemate.core.store.sqlite import driver
from casemate.operations.access import machines, review
from casemate.operations.drills.seen import NotPlayable, Stopwatch
from casemate.operations.drills.twin import TABLE
from casemate.operations.runs import RunResult
from casemate.operations.toml import edited
from casemate.wiring import Wiring

PROGRAM = ("-P", "-m", "casemate")
"""What Python runs as casemate."""
HOUR = datetime.timedelta(hours=1)
STARTING = 60.0
"""Seconds in which a gateway has to be there."""
VERIFYING = "serve.verify_minutes=0.02"
"""The gateway looks at its models every second or so, and not every ten minutes: an attack cannot
wait. That it looks is what is tried.
"""


@dataclass
class Answer:
    """What a gateway answered."""

    status: int
    """0: there was no answer."""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def value(self) -> Any:
        """Its JSON."""
        return json.loads(self.body)


class Gateway:
    """A running gateway, and the project that it serves."""

    def __init__(self, project: Wiring, process: subprocess.Popen[str], port: int) -> None:
        self.project, self.process, self.port = project, process, port
        self.ca = project.keystore.folder / "public" / "ca.pem"

    def connect(
        self, *, certificate: Path | None = None, source: str = "", seconds: float = 20.0
    ) -> http.client.HTTPSConnection:
        """A connection that is not open yet.

        Args:
            certificate: folder with a client's certificate and key.
            source: address of this machine that it comes from.
            seconds: that an answer may take.
        """
        context = ssl.create_default_context(cafile=str(self.ca))
        if certificate is not None:
            context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
        return http.client.HTTPSConnection(
            "127.0.0.1",
            self.port,
            context=context,
            timeout=seconds,
            source_address=(source, 0) if source else None,
        )

    def ask(
        self,
        token: str,
        path: str,
        body: Any = None,
        *,
        connection: http.client.HTTPSConnection | None = None,
        **more: Any,
    ) -> Answer:
        """Ask it; a connection that it closes or refuses is no answer."""
        fresh = connection is None
        connection = connection or self.connect(**more)
        try:
            content = None if body is None else json.dumps(body)
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            connection.request("GET" if body is None else "POST", path, content, headers)
            reply = connection.getresponse()
            return Answer(reply.status, reply.read(), {k.lower(): v for k, v in reply.getheaders()})
        except (OSError, http.client.HTTPException):
            connection.close()
            return Answer(0)
        finally:
            if fresh:
                connection.close()

    @contextlib.contextmanager
    def opened(self) -> Iterator[http.client.HTTPSConnection]:
        """A connection for several questions."""
        with contextlib.closing(self.connect()) as connection:
            yield connection

    def predict(self, token: str, rows: list[list[Any]], **more: Any) -> Answer:
        """Ask about rows, values in the model's order."""
        return self.ask(token, self.infer, self.question(rows), **more)

    @property
    def infer(self) -> str:
        """Where predictions are asked for."""
        return f"/v2/models/{self.project.config.project.name}/infer"

    def question(self, rows: list[list[Any]]) -> dict[str, Any]:
        """Rows as the protocol has them, a tensor a column."""
        return {
            "inputs": [
                {
                    "name": feature.name,
                    "shape": [len(rows)],
                    "datatype": "BYTES" if feature.type == "category" else "FP64",
                    "data": [row[place] for row in rows],
                }
                for place, feature in enumerate(self.features)
            ]
        }

    def token(self, service: str) -> tuple[str, str]:
        """(token, its id) of a new service that may ask every model."""
        return machines.create_token(self.project, service, ["client"], ["*"], HOUR)

    def answering(self, service: str) -> tuple[str, str, list[Any]]:
        """(token, its id, a row) of a new service, once it got an answer about that row;
        NotPlayable: it gets none, so that none says nothing of an attack either.
        """
        token, identifier = self.token(service)
        row = self.row()
        status = self.predict(token, [row]).status
        if status != 200:
            raise NotPlayable(f"the gateway gives no answer before the attack: {status}")
        return token, identifier, row

    def risen(self, service: str, kind: str) -> str:
        """What is unusual about a service, as whoever reviews access reads it; empty: nothing of
        this kind.
        """
        found = review.findings(self.project)
        mine = [one for one in found if one.principal == f'Service::"{service}"']
        return next((one.message for one in mine if one.kind == kind), "")

    def row(self) -> list[Any]:
        """A row of the copy's table that the model takes."""
        table = pyarrow.parquet.read_table(self.project.root / TABLE)
        row = table.slice(table.num_rows // 2, 1).to_pylist()[0]
        return [row.get(feature.name) for feature in self.features]

    @cached_property
    def features(self) -> list[Any]:
        """The model's inputs."""
        model = self.project.registry.verify(self.project.config.project.name)
        return list(model.card.inputs.features)


class Scene:
    """The copy, and what its honest run came to."""

    def __init__(self, root: Path, work: Path) -> None:
        """Say where it is.

        Args:
            root: of the copy.
            work: for further copies.
        """
        self.root, self.work = root, work
        self.within = 60.0
        """Seconds that the attack which is played may take."""
        self.result: RunResult | None = None
        """Of the honest run; None: it was not made."""
        self.fault = ""
        """Why there is no signed model; empty: there is one."""
        self._stack = contextlib.ExitStack()
        self._gateway: Gateway | None = None
        self._certified: Gateway | None = None

    @property
    def name(self) -> str:
        """Of the model."""
        with Wiring.at(self.root) as project:
            return project.config.project.name

    def require_model(self) -> None:
        """NotPlayable unless the honest run was signed: an attack on a model needs one."""
        if self.fault:
            raise NotPlayable(f"the copy has no signed model: {self.fault}")

    @property
    def reference(self) -> str:
        """The honest model, `NAME@VERSION`; NotPlayable: there is none."""
        self.require_model()
        with Wiring.at(self.root) as project:
            return project.registry.get(project.config.project.name).reference

    def strike(self) -> Stopwatch:
        """The attack's act is done now."""
        return Stopwatch(self.within)

    @contextlib.contextmanager
    def broken(self, **options: Any) -> Iterator[Wiring]:
        """A further copy that an attack may break.

        Args:
            options: of its casemate.toml that are set, as `TABLE__KEY`.
        """
        folder = Path(tempfile.mkdtemp(dir=self.work))
        root = folder / "copy"
        shutil.copytree(self.root, root)
        if options:
            with edited(root) as document:
                for name, value in options.items():
                    table, _, key = name.partition("__")
                    document.setdefault(table, {})[key] = value
        project = Wiring.at(root)
        try:
            yield project
        finally:
            project.close()
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def gateway(self) -> Gateway:
        """One that serves the honest model, started when it is first asked for."""
        if self._gateway is None:
            self.require_model()
            project = self._stack.enter_context(self.broken())
            self._gateway = self._stack.enter_context(self.serving(project, "-s", VERIFYING))
        return self._gateway

    @property
    def certified(self) -> Gateway:
        """Another one, which only talks to holders of certificates."""
        if self._certified is None:
            self.require_model()
            demanded = self.broken(serve__client_certificates="require")
            project = self._stack.enter_context(demanded)
            self._certified = self._stack.enter_context(self.serving(project))
        return self._certified

    @contextlib.contextmanager
    def serving(self, project: Wiring, *words: str) -> Iterator[Gateway]:
        """A gateway for a further copy.

        Raises:
            NotPlayable: it did not start.
        """
        with tempfile.TemporaryFile("w+", dir=self.work) as errors:
            process, port, told = start(project.root, words, errors)
            try:
                if port == 0:
                    raise NotPlayable(f"no gateway of the copy starts: {told}")
                with edited(project.root) as document:  # whom playbooks ask
                    asked = document.setdefault("incidents", {})
                    asked["gateways"] = [f"https://127.0.0.1:{port}"]
                with Wiring.at(project.root) as served:
                    yield Gateway(served, process, port)
            finally:
                stop(process)

    def close(self) -> None:
        """Stop what runs."""
        self._stack.close()


def stored(project: Wiring, digest: str) -> Path:
    """Where an object lies; the copy's are files."""
    places = project.objects.blobs
    if not isinstance(places, FileBlobs):
        raise NotPlayable("the copy's objects are no files")
    return places.path(name_of(digest))


def asked(project: Wiring, query: str) -> tuple[Any, ...]:
    """The first row of an answer of the catalogue's file, read past everything that is ours."""
    with contextlib.closing(driver.connect(project.catalog)) as connection:
        return tuple(connection.execute(query).fetchone())


def sql(project: Wiring, *statements: tuple[str, tuple[Any, ...]]) -> None:
    """Write to the catalogue's file past everything that is ours, as whoever can write files."""
    with contextlib.closing(driver.connect(project.catalog)) as connection, connection:
        for statement, values in statements:
            connection.execute(statement, values)


def start(root: Path, words: tuple[str, ...], errors: IO[str]) -> tuple[Any, int, str]:
    """(process, port, what it said) of a gateway for a project; port 0: it ended before it
    listened.
    """
    command = mortal([sys.executable, *PROGRAM, "serve", "--port", "0", *words])
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=errors, text=True)
    timer = threading.Timer(STARTING, process.kill)
    timer.start()
    line = next((line for line in process.stdout or () if " at http" in line), "")
    timer.cancel()
    if line:
        url = next(word for word in line.split() if word.startswith("http"))
        return process, int(url.rstrip("/").rsplit(":", 1)[1]), line.strip()
    process.wait()
    errors.seek(0)
    told = errors.read().strip().splitlines()
    return process, 0, " ".join(told)[-300:] or f"exit code {process.returncode}"


def stop(process: "subprocess.Popen[str]") -> None:
    """End a gateway."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def flip(path: Path, at: int | None = None) -> None:
    """Change one bit in the middle of a file, or at a place."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1
    mode = path.stat().st_mode
    os.chmod(path, mode | 0o200)
    path.write_bytes(bytes(content))
    os.chmod(path, mode)
