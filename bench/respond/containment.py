"""How long it takes from an alert to an incident, to its ticket, and until it is contained and proven,
beside callers who go on asking; and how many of their requests fail.

    python -m bench.respond.containment [--turns 5]

A gateway, a watcher that looks every second, a Roundup, and two callers run as processes of
their own. An alert about the live version is posted to the gateway; a playbook takes the version
back; after each turn a person promotes it again.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.attacks.test_gateway import Caller, new_token
from tests.attacks.test_releases import Asking
from tests.conftest import command, lighten, serving
from tests.contract.tracker_servers import Roundup

import casemate
from casemate.operations import scaffold
from casemate.respond.states import Incident

PLAYBOOK = """
title = "back"
[when]
causes = ["model", "endpoint"]
severity = "high"
[[steps]]
name = "back"
do = "rollback"
[[steps]]
name = "contained"
do = "contain"
needs = ["back"]
"""


class Project:
    """Two versions of the clinical example, served and watched."""

    def __init__(self, home: Path, roundup: Roundup) -> None:
        self.root = home / "clinic"
        scaffold.create(self.root, scaffold.clinical())
        lighten(self.root)
        (self.root / "desk").write_text(roundup.token)
        (self.root / "desk").chmod(0o600)
        (self.root / "playbooks").mkdir()
        (self.root / "playbooks" / "back.toml").write_text(PLAYBOOK)
        with (self.root / "casemate.toml").open("a") as file:
            file.write(
                f'\n[trackers.desk]\nkind = "roundup"\nurl = "{roundup.url}"\n'
                f'user = "{roundup.user}"\ntoken = "file:{self.root}/desk"\n'
            )
        project = casemate.open(self.root)
        project.run()
        project.run(start="release")
        project.playbooks.apply()
        project.models.promote("wdbc@1")
        project.models.promote("wdbc@2")
        project.close()


def until(check: Callable[[], object], seconds: float = 120.0) -> float:
    """Seconds until it is so."""
    began = time.monotonic()
    while not check():
        if time.monotonic() - began > seconds:
            raise TimeoutError
        time.sleep(0.02)
    return time.monotonic() - began


def turn(project: casemate.Project, alerter: Caller, roundup: Roundup, number: int) -> list[float]:
    """(seconds to an incident, to its ticket, until it is contained and proven)."""
    alert = {
        "name": "quality-realised",
        "severity": "page",
        "labels": {"model": "wdbc@2"},
        "began": f"2026-11-29T08:00:{number:02}Z",
    }
    began = time.monotonic()
    status, _, _ = alerter("POST", "/incidents/alerts", json.dumps({"alerts": [alert]}).encode())
    assert status == 200, status

    def mine() -> list[Incident]:
        found = [one.incident for one in project.incidents.list("all")]
        # callers that ask the same all day are an incident of their own
        return [one for one in found if one.root == "model:wdbc@2"][: -number + 1 or None]

    until(lambda: len(mine()) == 1)
    incident = time.monotonic() - began
    identifier = mine()[0].id
    title = f"casemate incident {identifier}: "
    until(lambda: any(one[0].startswith(title) for one in roundup.all()))
    ticket = time.monotonic() - began
    until(lambda: mine()[0].state == "contained")
    contained = time.monotonic() - began
    over = alert | {"ended": f"2026-11-29T08:00:{number:02}.5Z"}
    alerter("POST", "/incidents/alerts", json.dumps({"alerts": [over]}).encode())
    project.incidents.acknowledge(identifier)
    project.incidents.close(identifier, "a drill")
    project.models.promote("wdbc@2")
    return [incident, ticket, contained]


def main() -> None:
    """Print medians and the worst."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    turns = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o711)
        desk = home / "roundup"
        desk.mkdir()
        roundup = Roundup(desk)
        made = Project(home, roundup)
        with serving(made.root) as running:
            with (made.root / "casemate.toml").open("a") as file:
                file.write(f'\n[incidents]\ngateways = ["{running.url}"]\n')
            project = casemate.open(made.root)
            token, _ = new_token(project, "app", "client")
            secret, _ = new_token(project, "alerts", "alerter")
            watcher = subprocess.Popen(
                command("watch", "--every", "1"), cwd=made.root, stdout=subprocess.DEVNULL
            )
            try:
                with Asking(running, token) as one, Asking(running, token) as other:
                    found = [
                        turn(project, Caller(running, secret), roundup, number)
                        for number in range(1, turns + 1)
                    ]
            finally:
                watcher.terminate()
                watcher.wait(30)
                roundup.close()
            answers = len(one.answers) + len(other.answers)
            faults = len(one.faults) + len(other.faults)
    for name, times in zip(
        ("incident", "ticket", "contained"), zip(*found, strict=True), strict=True
    ):
        print(f"{name:10} median {statistics.median(times):5.2f} s, worst {max(times):5.2f} s")
    print(f"{answers} answers beside it, {faults} failed")


if __name__ == "__main__":
    main()
