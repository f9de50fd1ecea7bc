"""`make demo-loop`: five days of a model's life in three minutes. A shortcut that it learnt stops
working, and what then happens is watched, contained, told, learnt from and closed: by the program
itself, command by command, with a real gateway and a real tracker. Only the clock is moved on.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from tests.contract.tracker_servers import Roundup, free_port  # noqa: E402 - from this checkout

DAY = 86_400
CONFIG = """
[serve]
port = {port}
inputs = "sealed"

[feedback.sources]
registry = {{ trust = "full" }}

[retrain]
labels = 200
margin = 0.05
promote = "canary"
canary_share = 0.5

[trackers.desk]
kind = "roundup"
url = "{url}"
user = "{user}"
token = "file:desk.password"
"""
PLAYBOOK = """
title = "A model got worse: back to the version before, and learn"

[when]
causes = ["model", "endpoint", "dataset", "run"]
alerts = ["quality-*", "relation-changed"]
severity = "high"

[[steps]]
name = "back"
do = "rollback"

[[steps]]
name = "evidence"
do = "keep-evidence"

[[steps]]
name = "contained"
do = "contain"
needs = ["back"]

[[steps]]
name = "learn"
do = "retrain"
"""
LIGHT = """
[assess]
bootstrap = 60
attack_rows = 60
attack_steps = 12
shadows = 0
importance = false

[robustness]
decision_rows = 0
"""


def patients(rows: int, seed: int, *, guided: float) -> pd.DataFrame:
    """People whose illness is to be foretold.

    Args:
        rows: how many.
        seed: of their draw.
        guided: share of people treated by a protocol that gives the ill higher doses. A model
            learns the dose as a sign of illness, although it is a consequence.
    """
    drawn = np.random.default_rng(seed)
    age = drawn.normal(50, 10, rows).round()
    town = drawn.choice(["rome", "oslo", "kiel"], rows, p=[0.5, 0.3, 0.2])
    pressure = drawn.normal(120, 15, rows).round()
    z = 0.14 * (age - 50) + 0.8 * (town == "oslo") + 0.05 * (pressure - 120)
    ill = drawn.random(rows) < 1 / (1 + np.exp(-z))
    dose = drawn.gamma(6.0, 5.0, rows)
    dose = np.where(ill & (drawn.random(rows) < guided), dose + 22, dose)
    outcome = np.where(ill, "ill", "well")
    columns = {"age": age, "town": town, "pressure": pressure, "dose": dose.round(1)}
    return pd.DataFrame({**columns, "outcome": outcome})


class Loop:
    """One project, its clock, its gateway, its tracker."""

    def __init__(self, home: Path) -> None:
        self.home, self.root = home, home / "patients"
        self.clock = home / "clock"
        self.clock.write_text(str(-6 * DAY))  # what is made today is not of tomorrow
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"

    def words(self, *words: str) -> list[str]:
        """`casemate` on the moved clock."""
        return [sys.executable, str(HERE / "clock.py"), str(self.clock), *words]

    def do(self, *words: str, codes: tuple[int, ...] = (0,), quiet: bool = False) -> str:
        """Type a command; returns what it says on standard output."""
        print(f"\n$ casemate {' '.join(words)}", flush=True)
        folder = self.root if self.root.exists() else self.home
        done = subprocess.run(
            self.words(*words), cwd=folder, capture_output=True, text=True, check=False
        )
        lines = (done.stdout.rstrip() or done.stderr.rstrip()).splitlines()
        for line in lines[-4:] if quiet else lines:
            print(f"  {line[:150]}", flush=True)
        if done.returncode not in codes:
            sys.exit(f"casemate {words[0]} exited {done.returncode}: {done.stderr}")
        return done.stdout

    def later(self, days: float, why: str) -> None:
        """Move the clock on."""
        self.clock.write_text(str(float(self.clock.read_text()) + days * DAY))
        print(f"\n=== {why}", flush=True)

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """The gateway."""
        print("\n$ casemate serve &", flush=True)
        words = self.words("serve")
        with (self.home / "serve.log").open("w") as log:
            gateway = subprocess.Popen(
                words, cwd=self.root, stdout=subprocess.PIPE, stderr=log, text=True
            )
            try:
                print(f"  {gateway.stdout.readline().rstrip()[:150]}", flush=True)
                yield
            finally:
                gateway.send_signal(signal.SIGTERM)
                gateway.wait(30)

    def traffic(self, name: str, frame: pd.DataFrame, *, tells: bool = True) -> None:
        """Let the model answer about people, and tell what really was."""
        frame.drop(columns="outcome").to_csv(self.root / f"{name}.csv", index=False)
        out = f"{name}-answers.csv"
        self.do("predict", f"{name}.csv", "--url", self.url, "--out", out, quiet=True)
        if not tells:
            return
        answers = pd.read_csv(self.root / out)
        known = pd.DataFrame(
            {"request_id": answers["request"], "outcome": frame["outcome"].to_numpy()}
        )
        known.to_csv(self.root / f"{name}-outcomes.csv", index=False)
        self.do("feedback", "add", f"{name}-outcomes.csv", "--source", "registry")

    def desk(self, where: str, roundup: Roundup) -> None:
        """Show the tickets as a person sees them."""
        print(f"\n{where}:", flush=True)
        for title, _, state, _, comments in roundup.all():
            print(f"  [{state}] {title}")
            for one in comments:
                print(f"    - {one[:140]}", flush=True)


def made(loop: Loop, roundup: Roundup) -> None:
    """Two versions: a plain one, and one that learnt more from a larger table."""
    table = loop.home / "patients.csv"
    early = patients(800, 1, guided=0.0)
    early.to_csv(table, index=False)
    loop.do("init", "patients", "--table", str(table), "--target", "outcome", quiet=True)
    path = loop.root / "casemate.toml"
    text = path.read_text().partition("[serve]")
    gates = text[0].partition("[gates]")
    path.write_text(
        f"{gates[0]}{LIGHT}\n[gates]\nroc_auc = {{ min = 0.6 }}\n"
        + CONFIG.format(port=loop.port, url=roundup.url, user=roundup.user)
    )
    (loop.root / "desk.password").write_text(roundup.token)
    (loop.root / "desk.password").chmod(0o600)
    loop.do("run", quiet=True)
    loop.do("model", "promote", "patients@1")
    loop.later(0.5, "the table has grown: newer people were treated by a protocol")
    newer = patients(2_200, 2, guided=1.0)
    pd.concat([early, newer]).to_csv(table, index=False)
    loop.do("run", quiet=True)
    loop.do("model", "promote", "patients@2")
    (loop.root / "playbooks").mkdir()
    (loop.root / "playbooks" / "worse.toml").write_text(PLAYBOOK)
    loop.do("playbook", "apply")


def contained(loop: Loop, roundup: Roundup) -> None:
    """A usual day; then a shortcut ends, somebody hears of it, and the version before serves."""
    loop.traffic("usual", patients(600, 3, guided=0.73))
    loop.later(1.0, "the next day: nothing is wrong")
    loop.do("watch", "once")
    loop.later(0.2, "the protocol ends: a dose says nothing about illness any more")
    loop.traffic("changed", patients(900, 4, guided=0.0))
    loop.later(1.0, "the next day: somebody should know")
    loop.do("watch", "once", codes=(1,))
    loop.do("playbook", "runs")
    loop.do("incident", "show", "1")
    loop.desk("a ticket at the desk", roundup)
    loop.later(0.1, "Ben at the desk closes the ticket, far too early")
    roundup.edit(1, state="closed")
    loop.do("tracker", "read")
    loop.desk("and is answered", roundup)


def learnt(loop: Loop) -> None:
    """What really was is screened, and teaches a version that has to do well as a canary first."""
    loop.later(0.1, "what really was teaches the next version")
    loop.do("feedback", "screen")
    loop.do("retrain", "run", quiet=True)
    loop.do("model", "list")
    loop.traffic("trial", patients(400, 5, guided=0.0), tells=False)
    loop.later(1.0, "the next day: the canary has done well")
    loop.do("watch", "once", codes=(0, 1))
    loop.do("model", "promote", "patients@3", "--reason", "a day as canary, and no alarm")


def closed(loop: Loop, roundup: Roundup) -> None:
    """The facts close ticket and incident, and a page says what happened."""
    loop.traffic("after", patients(600, 6, guided=0.0), tells=False)
    loop.later(1.0, "the next day: nobody is answered by the bad version any more")
    loop.do("watch", "once", codes=(0, 1))
    roundup.said(1, "the new version answers as it should")
    roundup.edit(1, state="closed")
    loop.do("tracker", "read")
    loop.do("incident", "list", "--state", "all", codes=(0, 1))
    loop.do("incident", "review", "1", "a sign that follows the illness is none: ask first")
    loop.do("incident", "export", "1", "--as", "markdown", "--out", "post-mortem.md")
    loop.desk("at the desk", roundup)
    print((loop.root / "post-mortem.md").read_text())
    loop.do("audit", "verify", quiet=True)


def main() -> None:
    """Play the days; everything made is removed at the end, keys included."""
    began = time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="casemate-loop-"))
    home.chmod(0o711)  # a Roundup that root starts runs as nobody
    os.environ["HOME"] = str(home)
    desk = home / "desk"
    desk.mkdir()
    roundup = Roundup(desk)
    try:
        loop = Loop(home)
        made(loop, roundup)
        with loop.serving():
            contained(loop, roundup)
            learnt(loop)
            closed(loop, roundup)
        print(f"Done in {time.monotonic() - began:.0f} s.")
    finally:
        roundup.close()
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
