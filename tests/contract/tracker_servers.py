"""Real servers that tickets are made at: Roundup, and jira820, somebody else's JIRA Data Center."""

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.ports import free_port

BIN = Path(sys.executable).parent


class Roundup:
    """One tracker of the schema `classic`; the account that casemate has is an ordinary user."""

    kind, user, token = "roundup", "desk", "a password of the desk"

    def __init__(self, folder: Path) -> None:
        if not (BIN / "roundup-server").exists():
            pytest.skip("no Roundup: pip install roundup")
        self.home, port = folder / "tracker", free_port()
        self.url = f"http://127.0.0.1:{port}/t"
        settings = (
            f"tracker_web={self.url}/,mail_domain=x.test,mail_host=localhost,admin_email=a@x.test"
        )
        self.admin("install", "classic", "sqlite", settings)
        self.set("password_pbkdf2_default_rounds = ", "1000")  # it hashes at each request
        self.set("debug =  ", f"{self.home}/mails")  # there is no relay
        self.admin("initialise", "adminpw")
        name = f"username={self.user}"
        self.admin(
            "create", "user", name, f"password={self.token}", "address=d@x.test", "roles=User"
        )
        self.admin(
            "create", "user", "username=ben", "password=ben", "address=b@x.test", "roles=User"
        )
        for keyword in ("casemate", "severity-high", "drift"):
            self.admin("create", "keyword", f"name={keyword}")
        words = [BIN / "roundup-server", "-n", "127.0.0.1", "-p", str(port), f"t={self.home}"]
        if os.geteuid() == 0:  # as which it refuses to run
            words[1:1] = ["-u", "nobody"]
            for path in [self.home, *self.home.rglob("*")]:
                shutil.chown(path, "nobody")
            folder.chmod(0o711)
        self.output = (folder / "output").open("wb")
        self.process = subprocess.Popen(
            [str(word) for word in words],
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        until(self.process, lambda: self.call("GET", "status"))

    def admin(self, *words: str) -> None:
        done = subprocess.run(
            [str(BIN / "roundup-admin"), "-i", str(self.home), *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def set(self, option: str, value: str) -> None:
        """Write an option of config.ini."""
        path = self.home / "config.ini"
        lines = path.read_text().splitlines()
        at = [number for number, line in enumerate(lines) if f"{line} ".startswith(option)]
        assert len(at) == 1, option
        lines[at[0]] = option.rstrip() + " " + value
        path.write_text("\n".join(lines) + "\n")

    def call(self, method, path, body=None, etag=None, who=("admin", "adminpw")):
        headers = {
            "x-requested-with": "rest",
            "authorization": "Basic " + base64.b64encode(":".join(who).encode()).decode(),
            "content-type": "application/json",
            "origin": self.url.removesuffix("/t"),
            "referer": f"{self.url}/",
        }
        if etag:
            headers["if-match"] = etag
        content = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            f"{self.url}/rest/data/{path}", content, headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as error:
            error.add_note(error.read().decode())
            raise

    def change(self, number, body, who=("admin", "adminpw")):
        """As somebody else does."""
        while True:
            etag = self.call("GET", f"issue/{number}")["@etag"]
            with contextlib.suppress(urllib.error.HTTPError):
                return self.call("PUT", f"issue/{number}", body, etag, who)

    # what people do there, and what one sees

    def all(self):
        found = []
        for row in self.call("GET", "issue?@sort=id")["collection"]:
            one = self.call("GET", f"issue/{row['id']}?@verbose=2")["attributes"]
            said = [
                self.call("GET", f"msg/{m['id']}?@verbose=3")["attributes"]["content"]
                for m in sorted(one["messages"], key=lambda m: int(m["id"]))
            ]
            state = "closed" if one["status"]["name"] == "resolved" else "open"
            labels = [keyword["name"] for keyword in one["keyword"]]
            found.append((one["title"], said[0], state, labels, said[1:]))
        return found

    def edit(self, number, **changes):
        names = {"title": "title", "assignee": "assignedto", "state": "status"}
        states = {"open": "in-progress", "closed": "resolved"}
        self.change(number, {names[n]: states.get(v, v) for n, v in changes.items()})

    def said(self, number, text, who="ben"):
        when = "2026-11-29.08:00:00"
        made = self.call("POST", "msg", {"content": text, "author": who, "date": when})
        known = [m["id"] for m in self.call("GET", f"issue/{number}")["attributes"]["messages"]]
        self.change(number, {"messages": [*known, made["id"]], "status": "chatting"})

    def empty(self):
        """Between two tests."""
        for row in self.call("GET", "issue")["collection"]:
            etag = self.call("GET", f"issue/{row['id']}")["@etag"]
            self.call("DELETE", f"issue/{row['id']}", None, etag)

    def close(self):
        end(self.process)
        self.output.close()


def until(process, check):
    for _ in range(300):
        with contextlib.suppress(OSError):
            return check()
        if process.poll() is not None:
            pytest.fail("the server ended")
        time.sleep(0.1)
    return pytest.fail("the server did not answer")


def end(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
