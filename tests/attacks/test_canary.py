"""Planted secrets are in no file, output, traceback or process list of everything that casemate
does with them.
"""

import base64
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
import tomlkit
from tests.conftest import command, wait_for

pytestmark = pytest.mark.slow

CANARIES = {
    "CANARY_PASSPHRASE": "canary-passphrase-7d1e0c6a",
    "CANARY_NEXT": "canary-next-passphrase-e6b1",
    "CANARY_WEBHOOK": "canary-webhook-5f2b9c11",
    "CANARY_BACKUP": "canary-backup-9a8b7c6d5e",
    "CANARY_TOKEN": "canary-token-1b2c3d4e",
}


def spellings(secret):
    """The secret, and how it would look encoded."""
    raw = secret.encode()
    return [raw, base64.b64encode(raw)[:-2], base64.urlsafe_b64encode(raw)[:-2], raw.hex().encode()]


class Watch:
    """Looks at every command line, and at the environment of every process below ours but the one
    that was given the secrets.
    """

    def __init__(self, given):
        self.given, self.seen, self.stop = given, [], threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self):
        while not self.stop.is_set():
            for folder in Path("/proc").iterdir():
                if folder.name.isdigit():
                    self.look_at(folder)
            time.sleep(0.05)

    def look_at(self, folder):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            line, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
            # in the middle of an exec the kernel shows the environment's bytes as the command line:
            # only a settled one counts
            time.sleep(0.002)
            if line == (folder / "cmdline").read_bytes() and not (line and line in environment):
                self.seen.append(line)
            if parent in self.given:
                self.seen.append(environment)
        except (OSError, ValueError, IndexError):
            return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


@pytest.fixture
def everything(tmp_path):
    """Run a command with all secrets in its environment; collects what it printed and what
    processes showed.
    """
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), **CANARIES}
    shown: list[bytes] = []

    def run(*words, where=tmp_path, code=0):
        given: set[int] = set()
        with Watch(given) as watch:
            process = subprocess.Popen(
                command(*words),
                cwd=where,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            given.add(process.pid)
            out, err = process.communicate(timeout=300)
        assert process.returncode == code, (words, err)
        shown.extend([out, err, *watch.seen])

    return run, shown


def test_no_planted_secret_leaks_anywhere(everything, tmp_path):
    run, shown = everything
    run("init", "p", "--example", "clinical", "--passphrase", "env:CANARY_PASSPHRASE")
    root = tmp_path / "p"
    document = tomlkit.parse((root / "casemate.toml").read_text())
    document["assess"] = {"bootstrap": 20, "attack_rows": 10, "attack_steps": 1, "eps": [0.1]}
    document["gates"] = {"accuracy": {"min": 0.5}}
    document["notices"] = {
        "hook": {"kind": "webhook", "to": "http://127.0.0.1:9/hook", "secret": "env:CANARY_WEBHOOK"}
    }
    document["outbox"] = {"timeout": 1, "backoff": 0}
    (root / "casemate.toml").write_text(tomlkit.dumps(document))
    run("run", where=root)
    run("outbox", "send", where=root, code=5)
    run("keys", "rotate", where=root)
    run("keys", "protect", "env:CANARY_NEXT", where=root)
    run(
        "backup",
        "recipients",
        "add",
        "me",
        "--passphrase",
        "env:CANARY_BACKUP",
        "--keys",
        where=root,
    )
    run("backup", "create", "../b", "--with-keys", where=root)
    run("backup", "verify", "../b", "--passphrase", "env:CANARY_TOKEN", where=root, code=3)
    run(
        "predict",
        "data/wdbc.csv",
        "--url",
        "https://127.0.0.1:9",
        "--token",
        "env:CANARY_TOKEN",
        where=root,
        code=5,
    )
    run(
        "keys",
        "migrate",
        "vault",
        "--address",
        "http://127.0.0.1:9",
        "--secret",
        "env:CANARY_TOKEN",
        where=root,
        code=5,
    )
    run("doctor", where=root)
    run("fsck", where=root)
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 50
    assert len(shown) > 1000
    for name, secret in CANARIES.items():
        for spelling in spellings(secret):
            assert not [1 for content in files if spelling in content], f"{name} is in a file"
            assert not [content for content in shown if spelling in content], f"{name} was shown"


def test_the_watch_would_see_a_secret_on_a_command_line():
    with Watch({os.getpid()}) as watch:
        sleeping = subprocess.Popen(["sleep", "60", "0.0001"], env={"X": CANARIES["CANARY_TOKEN"]})
        try:
            wait_for(lambda: any(b"0.0001" in content for content in watch.seen))
            wait_for(
                lambda: any(CANARIES["CANARY_TOKEN"].encode() in content for content in watch.seen)
            )
        finally:
            sleeping.kill()
            sleeping.wait()
