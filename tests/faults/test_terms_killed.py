"""Whoever removes what is over its term is killed in the middle: rows are whole or gone, and the
next one takes the rest.
"""

import datetime
import shutil
import subprocess
import sys
import time

import pytest

import casemate
from casemate.core.errors import VerificationError
from casemate.operations.fsck import examine
from casemate.operations.termed import versions

pytestmark = pytest.mark.slow
NOW = "2028-06-01T00:00:00+00:00"
TERM = '[privacy.retention.data]\nmonths = 12\nreason = "r"\n'
REMOVES = """
import datetime, os, signal, sys, time
import casemate
from casemate.operations.termed import versions

root, point, now = sys.argv[1:]

class Now:
    def now(self):
        return datetime.datetime.fromisoformat(now)
    def monotonic(self):
        return time.monotonic()

def dies(name, before):
    real = getattr(versions, name)
    def wrapped(*given, **more):
        if before:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*given, **more)
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(versions, name, wrapped)

name, _, when = point.partition(" ")
dies(name, when == "before")
project = casemate.open(root)
project.clock = project.log.clock = Now()
project.privacy.retention.apply()
"""


class Now:
    """A clock that stands."""

    def now(self):
        return datetime.datetime.fromisoformat(NOW)

    def monotonic(self):
        return time.monotonic()


@pytest.mark.parametrize(
    "point", ["exchange before", pytest.param("exchange after", marks=pytest.mark.long)]
)
def test_rows_are_whole_or_gone_and_the_next_time_takes_the_rest(aged, tmp_path, point):
    root = tmp_path / "p"
    shutil.copytree(aged[0], root)
    (root / "casemate.toml").write_text((root / "casemate.toml").read_text() + TERM)
    told = [sys.executable, "-c", REMOVES, str(root), point, NOW]
    assert subprocess.run(told, capture_output=True, check=False).returncode == -9
    with casemate.open(root) as project:
        project.clock = project.log.clock = Now()
        there = 0
        for dataset in project.datasets.values():
            try:
                assert dataset.to_arrow().num_rows == 200
                there += 1
            except VerificationError as error:
                assert "removed when their term ended" in error.message
        assert there == (3 if point == "exchange before" else 2)
        assert examine(project).damage == []
        project.privacy.retention.apply()
        left = versions.find_data(project, datetime.UTC)
        assert [one.kept for one in left] == [versions.NEWEST]
        assert examine(project).damage == []
        names = {
            entry.resource for entry in project.log.entries() if entry.action == versions.ACTION
        }
        assert len(names) == 2
    folders = list((root / ".casemate" / "datasets").glob("*/.*"))
    assert folders == []
