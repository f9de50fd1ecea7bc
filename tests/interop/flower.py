"""A real Flower: a SuperLink with TLS and known SuperNodes, on this machine."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.ports import free_port

from casemate.controls.keys.pki import Authority, create_authority

SECONDS = 120.0


def descendants(pid: int) -> list[int]:
    """Processes that it started, and those that they did."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *descendants(child)]
    return found


class Flower:
    """Its programs, and what they were started with.

    Args:
        programs: folder with `flwr`, `flower-superlink` and `flower-supernode`.
        folder: private, for certificates, logs and state.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        self.port = free_port()
        self.started: list[subprocess.Popen[bytes]] = []
        key, certificate = create_authority("flower")
        authority = Authority(key, certificate)
        chain, private = authority.issue_server(["localhost", "127.0.0.1"])
        (folder / "ca.crt").write_bytes(authority.pem)
        (folder / "s.crt").write_bytes(chain)
        (folder / "s.key").write_bytes(private)
        self.tls = [
            *("--ssl-certfile", folder / "s.crt", "--ssl-keyfile", folder / "s.key"),
            *("--ssl-ca-certfile", folder / "ca.crt"),
        ]
        (folder / "home").mkdir()
        (folder / "home" / "config.toml").write_text(
            f'[superlink]\ndefault = "tls"\n[superlink.tls]\naddress = "127.0.0.1:{self.port}"\n'
            f'root-certificates = "{folder / "ca.crt"}"\n'
        )

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_HOME": str(self.folder / "home"),
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "HOME": str(self.folder),
        }

    def start(self, name: str, program: str, *words: object) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.started.append(
                subprocess.Popen(
                    [self.programs / program, *map(str, words)],
                    env=self.environment,
                    cwd=self.folder,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def flwr(self, *words: object) -> str:
        done = subprocess.run(
            [self.programs / "flwr", *map(str, words)],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def link(self) -> None:
        """A SuperLink that answers."""
        words = ["--enable-supernode-auth", "--disable-runtime-dependency-installation"]
        address = ["--host", "127.0.0.1", "--port", self.port, "--database", "state.db"]
        self.start("link", "flower-superlink", *self.tls, *words, *address)
        until = time.monotonic() + SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert time.monotonic() < until, (self.folder / "link.log").read_text()
            time.sleep(0.2)

    def node(self, name: str, config: str) -> None:
        """A SuperNode that the SuperLink knows."""
        key = self.folder / f"{name}.key"
        make = ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", key]
        subprocess.run(make, check=True)
        self.flwr("supernode", "register", f"{key}.pub", "tls")
        self.start(
            name,
            "flower-supernode",
            *("--root-certificates", self.folder / "ca.crt"),
            *("--superlink", f"127.0.0.1:{self.port}", "--auth-supernode-private-key", key),
            *("--node-config", config, "--port", free_port()),
            *self.tls,
        )

    def close(self) -> None:
        """All of them end, and what they started: Flower's apps outlive it."""
        left = [child for one in self.started for child in descendants(one.pid)]
        for one in reversed(self.started):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGTERM)
        for one in self.started:
            try:
                one.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(one.pid, signal.SIGKILL)
                one.wait()
        for child in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


@contextlib.contextmanager
def flower(programs: Path, folder: Path) -> Iterator[Flower]:
    """A SuperLink for the block, and whatever else is started in it."""
    made = Flower(programs, folder)
    try:
        made.link()
        yield made
    finally:
        made.close()
