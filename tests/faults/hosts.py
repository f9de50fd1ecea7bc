"""Hosts of their own on one machine: network namespaces on a bridge, each with an address; a
PostgreSQL that is reached over that network with TLS alone; gateways that share no disk.

It needs root, as namespaces of a network that others join do.
"""

import contextlib
import http.client
import itertools
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from tests.attacks.test_releases import BODY, INFER
from tests.conftest import Gateway, command, serving, wait_for

import casemate
from casemate.cli import main
from casemate.controls.keys.pki import Authority, create_authority
from casemate.core.home import keystore_folder

PORT = 8443
DEBIAN = Path("/usr/lib/postgresql")
AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")


def require() -> None:
    """Skip, visibly, where there can be no hosts."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces that stand for hosts need root")
    if shutil.which("ip") is None:
        pytest.skip("no ip here: apt-get install iproute2")


def require_database() -> None:
    """Skip, visibly, where there can be no database on a host."""
    require()
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv here: apt-get install util-linux")
    if not list(DEBIAN.glob("*/bin/postgres")):
        pytest.skip("no PostgreSQL with TLS here: apt-get install postgresql")


def ip(*words: str) -> None:
    """One command of iproute2."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stderr)


@contextlib.contextmanager
def closing_after_a_fault(made: "Host | Network | Database") -> Iterator[None]:
    """Nothing remains of what could not be set up."""
    try:
        yield
    except BaseException:
        made.close()
        raise


class Host:
    """One namespace, with a cable to the bridge."""

    def __init__(self, network: "Network", number: int) -> None:
        self.space = f"{network.bridge}-{number}"
        self.cable = f"{network.bridge}v{number}"
        self.address = f"{network.prefix}.{number + 10}"
        ip("netns", "add", self.space)
        with closing_after_a_fault(self):
            inside = ("-n", self.space)
            ip("link", "add", self.cable, "type", "veth", "peer", "eth0", "netns", self.space)
            ip("link", "set", self.cable, "master", network.bridge, "up")
            ip(*inside, "address", "add", f"{self.address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip(*inside, "link", "set", device, "up")

    @property
    def inside(self) -> list[str]:
        """Words that run the command behind them on this host; the process stays the same."""
        return ["ip", "netns", "exec", self.space]

    def cut(self) -> None:
        """Pull the cable: nothing comes through, and nobody is told."""
        ip("link", "set", self.cable, "down")

    def joined(self) -> None:
        """Plug it in again."""
        ip("link", "set", self.cable, "up")

    def close(self) -> None:
        """Nothing of it remains."""
        ip("netns", "delete", self.space)


class Network:
    """A bridge; this process is on it too, at `address`."""

    def __init__(self) -> None:
        require()
        self.bridge = f"cm{secrets.token_hex(3)}"
        first, second = secrets.randbelow(64) + 64, secrets.randbelow(256)
        self.prefix = f"10.{first}.{second}"
        self.address = f"{self.prefix}.1"
        self.hosts: list[Host] = []
        ip("link", "add", self.bridge, "type", "bridge")
        with closing_after_a_fault(self):
            ip("address", "add", f"{self.address}/24", "dev", self.bridge)
            ip("link", "set", self.bridge, "up")

    def host(self) -> Host:
        """Another host."""
        self.hosts.append(Host(self, len(self.hosts)))
        return self.hosts[-1]

    def close(self) -> None:
        """Nothing of it remains, whatever of it cannot be ended."""
        with contextlib.ExitStack() as kept:
            kept.callback(ip, "link", "delete", self.bridge)
            for host in self.hosts:
                kept.callback(host.close)


class Database:
    """Debian's PostgreSQL on a host: TLS with a certificate of its own authority, a password, and
    no way in without both.
    """

    def __init__(self, host: Host, folder: Path) -> None:
        require_database()
        self.host = host
        self.programs = max(DEBIAN.glob("*/bin"), key=lambda path: float(path.parent.name))
        # others than root must reach it, which they cannot below pytest's folders
        self.data = Path(tempfile.mkdtemp(prefix="casemate-pg", dir="/var/tmp"))
        self.password, self.ca = folder / "db.password", folder / "db-ca.pem"
        self.password.write_text(secrets.token_hex(16))
        self.password.chmod(0o600)
        self.process: subprocess.Popen[bytes] | None = None
        with closing_after_a_fault(self):
            self._create()
            self.start()

    def _create(self) -> None:
        authority, address = Authority(*create_authority("db")), self.host.address
        self.ca.write_bytes(authority.pem)
        chain, key = authority.issue_server([address])
        given = self.data / "password"
        given.write_text(self.password.read_text())
        for path in (self.data, given):
            shutil.chown(path, "nobody", "nogroup")
        words = ["-D", str(self.data / "d"), "-U", "cm", "-A", "trust", f"--pwfile={given}"]
        made = [*AS_NOBODY, str(self.programs / "initdb"), *words]
        subprocess.run(made, check=True, capture_output=True, cwd="/")
        files = {"server.pem": chain, "server.key": key}
        allowed = f"hostssl all cm {address.rpartition('.')[0]}.0/24 scram-sha-256\n"
        files["pg_hba.conf"] = f"local all all trust\n{allowed}".encode()
        for name, content in files.items():
            path = self.data / "d" / name
            path.write_bytes(content)
            path.chmod(0o600)
            shutil.chown(path, "nobody", "nogroup")

    @property
    def url(self) -> str:
        """Of `[store]`."""
        checked = f"?sslmode=verify-full&sslrootcert={self.ca}"
        return f"postgresql://cm@{self.host.address}/postgres{checked}"

    def start(self) -> None:
        """Run it, until it answers."""
        options = {
            "listen_addresses": self.host.address,
            "unix_socket_directories": str(self.data),
            "ssl": "on",
            "ssl_cert_file": "server.pem",
            "ssl_key_file": "server.key",
        }
        said = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        words = [str(self.programs / "postgres"), "-D", str(self.data / "d"), *said]
        self.process = subprocess.Popen(
            # a process that was begun behind a shell's `&` does not hear SIGQUIT, until it asks for it
            [*self.host.inside, *AS_NOBODY, "env", "--default-signal=QUIT", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
        wait_for(self._answers)

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, "PostgreSQL ended"
        words = [*self.host.inside, str(self.programs / "pg_isready"), "-q", "-h"]
        return subprocess.run([*words, self.host.address], check=False).returncode == 0

    def crash(self) -> None:
        """End it at once, as if it had crashed: nothing is written out, what is open is lost."""
        assert self.process is not None
        for _ in range(30):
            # a program on the way to it may not hear, where whoever began the tests ignores it
            self.process.send_signal(signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
                return
        self.process.kill()
        self.process.wait(10)

    def close(self) -> None:
        """Nothing of it remains."""
        try:
            if self.process is not None:
                self.crash()
        finally:
            shutil.rmtree(self.data)


class Objects:
    """A bucket on moto's AWS server, where every host reaches it: over TLS, as anything that is not
    on the same machine must be.
    """

    def __init__(self, address: str, folder: Path) -> None:
        moto = pytest.importorskip(
            "moto.server", reason="no AWS server: pip install 'moto[kms,server]'"
        )
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Silent(WSGIRequestHandler):
            def log_request(self, *_: object) -> None:
                """Nobody reads it."""

        authority = Authority(*create_authority("objects"))
        self.ca, chain, key = (folder / f"objects-{name}.pem" for name in ("ca", "chain", "key"))
        self.ca.write_bytes(authority.pem)
        for path, content in zip((chain, key), authority.issue_server([address]), strict=True):
            path.write_bytes(content)
        app = moto.DomainDispatcherApplication(moto.create_backend_app)
        identity = (str(chain), str(key))
        self.server = make_server(
            address, 0, app, threaded=True, ssl_context=identity, request_handler=Silent
        )
        self.endpoint = f"https://{address}:{self.server.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Nobody answers there any more."""
        self.server.shutdown()


class Place:
    """A host with a gateway of a project: a folder with `casemate.toml` alone, and a copy of the key
    store in the home of whoever runs it.
    """

    def __init__(self, host: Host, project: Path, folder: Path, variables: dict[str, str]) -> None:
        self.host, self.root, self.home = host, folder / "project", folder / "home"
        self.variables = {**variables, "HOME": str(self.home)}
        self.root.mkdir(parents=True)
        shutil.copy(project / "casemate.toml", self.root)
        self.identifier = casemate.open(project).config.project.id
        self.copy_keys()

    def copy_keys(self) -> None:
        """Have the key store here that the desk has now."""
        kept = self.home / ".config/casemate" / self.identifier
        shutil.copytree(keystore_folder(self.identifier), kept, dirs_exist_ok=True)

    def serving(self, *words: str, port: int = PORT) -> serving:
        """`casemate serve` on this host."""
        where = self.host.address
        given = ("-s", f'serve.host="{where}"', "-s", f'serve.names=["{where}"]', *words)
        program = [*self.host.inside, *command()]
        return serving(self.root, *given, program=program, port=port, **self.variables)


class Line:
    """A caller's connection to one gateway, opened when it is needed."""

    def __init__(
        self, gateway: Gateway, token: str, seconds: float = 30.0, shown: Path | None = None
    ) -> None:
        """Nothing is dialled yet.

        Args:
            gateway: which.
            token: of the caller.
            seconds: for each step.
            shown: folder of a client certificate.
        """
        self.token, self.seconds, self.port = token, seconds, gateway.port
        self.address = gateway.url.split("/")[2].rpartition(":")[0]
        self.context = ssl.create_default_context(cafile=str(gateway.ca))
        if shown is not None:
            self.context.load_cert_chain(shown / "cert.pem", shown / "key.pem")
        self.connection: http.client.HTTPSConnection | None = None

    def __call__(
        self, path: str = INFER, body: str | None = BODY
    ) -> tuple[int, bytes, dict[str, str]]:
        """(status, content, headers); OSError or HTTPException without an answer."""
        if self.connection is None:
            self.connection = http.client.HTTPSConnection(
                self.address, self.port, context=self.context, timeout=self.seconds
            )
        method = "GET" if body is None else "POST"
        try:
            headers = {"Authorization": f"Bearer {self.token}"}
            self.connection.request(method, path, body, headers)
            reply = self.connection.getresponse()
            return reply.status, reply.read(), dict(reply.headers)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Load:
    """Callers that ask one gateway all the time, each on a line of its own; who got what is kept."""

    def __init__(self, gateway: Gateway, token: str, callers: int = 2, seconds: float = 30.0):
        self.acknowledged: list[tuple[float, str]] = []
        """(`time.monotonic()`, request id) of each answer."""
        self.others: Counter[str] = Counter()
        """What else came, by status or kind of fault."""
        self.end = threading.Event()
        lines = [Line(gateway, token, seconds) for _ in range(callers)]
        self.threads = [threading.Thread(target=self._ask, args=(line,)) for line in lines]

    def _ask(self, line: Line) -> None:
        while not self.end.is_set():
            try:
                status, _, headers = line()
            except (OSError, http.client.HTTPException) as error:
                self.others[type(error).__name__] += 1
                time.sleep(0.05)
                continue
            if status == 200:
                self.acknowledged.append((time.monotonic(), headers["x-request-id"]))
            else:
                self.others[str(status)] += 1
                time.sleep(0.05)
        line.close()

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end.set()
        for thread in self.threads:
            thread.join()

    def more(self, count: int = 20, seconds: float = 60.0) -> None:
        """Wait for so many answers more."""
        before = len(self.acknowledged)
        wait_for(lambda: len(self.acknowledged) >= before + count, seconds)

    def gap(self, since: float) -> float:
        """The longest time without an answer from `since` on, in seconds."""
        times = [since, *(when for when, _ in self.acknowledged if when > since)]
        return max(
            (later - earlier for earlier, later in itertools.pairwise(times)),
            default=0.0,
        )


def recorded(project: casemate.Project) -> Counter[str]:
    """How often each request is on record; what a shadow says beside its answer is not counted."""
    said = (json.loads(body) for group in project.decisions.groups(-1) for body in group.bodies)
    return Counter(one["id"] for one in said if one["part"] != "shadow")


@contextlib.contextmanager
def several(finished: Path, folder: Path, count: int) -> Iterator[tuple[list[Place], Database]]:
    """A project whose catalogue is in a database, whose objects are in a bucket, and hosts that may
    serve it; this process is where it is managed from.

    Args:
        finished: a project that has run; it stays as it is.
        folder: for everything, empty.
        count: how many hosts.
    """
    with contextlib.ExitStack() as kept:
        network = Network()
        kept.callback(network.close)
        database = Database(network.host(), folder)
        kept.callback(database.close)
        objects = Objects(network.address, folder)
        kept.callback(objects.close)
        patch = kept.enter_context(pytest.MonkeyPatch.context())
        shutil.copytree(Path("~/.config").expanduser(), folder / "home/.config")
        patch.setenv("HOME", str(folder / "home"))
        secret = {"S3_ACCESS": "AK", "S3_SECRET": "SK", "AWS_CA_BUNDLE": str(objects.ca)}
        for name, value in secret.items():
            patch.setenv(name, value)
        import boto3

        access = {"aws_access_key_id": "AK", "aws_secret_access_key": "SK"}
        boto3.client(
            "s3", endpoint_url=objects.endpoint, region_name="us-east-1", **access
        ).create_bucket(Bucket="models")
        root = folder / "desk"
        shutil.copytree(finished, root)
        at = ("--config", str(root))
        keys = ("--access-key", "env:S3_ACCESS", "--secret-key", "env:S3_SECRET")
        where = ("--endpoint", objects.endpoint, "--region", "us-east-1", *keys)
        password = ("--password", f"file:{database.password}")
        assert main(["store", "migrate", database.url, *password, *at]) == 0
        assert main(["store", "objects", "s3://models/clinic", *where, *at]) == 0
        yield (
            [
                Place(network.host(), root, folder / f"host-{number}", secret)
                for number in range(1, count + 1)
            ],
            database,
        )
