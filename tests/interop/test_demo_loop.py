"""`make demo-loop` plays to its end, and each scene shows what it promises."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_the_loop_goes_from_an_alarm_to_a_closed_ticket_by_the_facts():
    environment = {key: value for key, value in os.environ.items() if key != "HOME"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "demo" / "loop.py")],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    said = done.stdout
    order = [
        "alarms: 0 to see to now",
        "page relation-changed (patients@2)",
        "serves patients@1, digest",
        "incident 1 is contained",
        "casemate opens this ticket again",
        "patients@3 passed and is canary",
        "patients@3 is released (live)",
        "incident 1: reviewed",
        "[closed] casemate incident 1",
        "its ticket was closed, and no alert stands",
        "OK: ",
    ]
    places = [said.find(one) for one in order]
    assert -1 not in places, list(zip(order, places, strict=True))
    assert places == sorted(places)
