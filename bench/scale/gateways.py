"""Gateways on several hosts, at full length: `python bench/scale/gateways.py [TRIALS]`, as root.

Network namespaces stand for hosts, so all of them share this machine's cores: what two gateways
answer a second says that they do not stand in each other's way, not what a second machine adds. A
trial kills a gateway, cuts its host off, lets the database crash, and cuts that off, each under
load; then every answer is looked for in the log.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.attacks.test_gateway import new_token
from tests.conftest import Gateway, lighten, serving, wait_for
from tests.faults.hosts import Database, Line, Load, Place, recorded, several

import casemate
from casemate.operations import scaffold

TRIALS = 5
CUT_SECONDS = 30.0
RATE_SECONDS, TURNS = 5.0, 5
BATCHED = ("-s", 'serve.audit="batched"')


def line(name: str, value: object, limit: str) -> None:
    """Print one figure."""
    print(f"{name}\t{value}\t{limit}", flush=True)


def counted(name: str, project: casemate.Project, loads: list[Load], lost: str) -> None:
    """Print how answers and records compare."""
    records = recorded(project)
    given = [identifier for load in loads for _, identifier in load.acknowledged]
    line(f"{name}: answers given", len(given), "")
    line(f"{name}: answers without a record", sum(one not in records for one in given), lost)
    line(f"{name}: records that are there twice", sum(n > 1 for n in records.values()), "= 0")


def rates(project: casemate.Project, gateways: list[Gateway]) -> None:
    """Requests a second of one gateway and of both, the same callers in all, by turns."""
    token, _ = new_token(project, "rates")
    ways = {"one gateway": gateways[:1] * 2, "two gateways": gateways[:2]}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, asked in ways.items():
            loads = [Load(gateway, token, 8) for gateway in asked]
            with loads[0], loads[1]:
                time.sleep(RATE_SECONDS)
            count = sum(len(load.acknowledged) for load in loads)
            found[name].append(count / RATE_SECONDS)
    for name, each in found.items():
        line(f"requests a second, 16 callers, {name}", round(statistics.median(each)), "")


def revocations(project: casemate.Project, gateways: list[Gateway]) -> None:
    """Seconds until each host refuses a token that was revoked."""
    took: list[float] = []
    for _ in range(10):
        token, identifier = new_token(project, "left")
        lines = [Line(gateway, token) for gateway in gateways]
        assert [one()[0] for one in lines] == [200] * len(lines)
        project.access.revoke_token(identifier)
        began, seen = time.monotonic(), [0.0] * len(lines)
        while not all(seen):
            for number, one in enumerate(lines):
                if not seen[number] and one()[0] == 401:
                    seen[number] = time.monotonic() - began
        took += seen
        for one in lines:
            one.close()
    line("revocation seen by every host, median s", f"{statistics.median(took):.2f}", "")
    line("revocation seen by every host, longest s", f"{max(took):.2f}", "<= 1")


def killed(token: str, one: serving, living: Gateway) -> list[Load]:
    """A gateway ends in the middle of its work, and is started again."""
    with one as dying, Load(dying, token) as load, Load(living, token) as others:
        load.more(50)
        began = time.monotonic()
        dying.process.kill()
        others.more(200)
        line("killed: longest pause of the others, s", f"{others.gap(began):.2f}", "")
    with one as again, Load(again, token, 1) as joined:
        joined.more(5)
        line("killed: answers again after s", f"{time.monotonic() - began:.1f}", "")
    return [load, others, joined]


def cut(token: str, place: Place, gateway: Gateway, living: Gateway) -> list[Load]:
    """A host loses its network for a while."""
    with Load(gateway, token, 2, 5.0) as load, Load(living, token) as others:
        load.more(50)
        began = time.monotonic()
        place.host.cut()
        time.sleep(CUT_SECONDS)
        line("cut off: longest pause of the others, s", f"{others.gap(began):.2f}", "")
        place.host.joined()
        back = time.monotonic()
        load.more(5, 120)
        line("cut off: answers again after s", f"{time.monotonic() - back:.1f}", "")
    return [load, others]


def crashed(token: str, database: Database, gateways: list[Gateway]) -> list[Load]:
    """The database ends without a word, and is started again."""
    loads = [Load(gateway, token) for gateway in gateways]
    with loads[0], loads[1]:
        loads[0].more(50)
        database.crash()
        wait_for(lambda: loads[0].others and loads[1].others)
        database.start()
        began = time.monotonic()
        loads[0].more(5)
        loads[1].more(5)
        line("database crashed: both answer after s", f"{time.monotonic() - began:.1f}", "")
    return loads


def silent(token: str, database: Database, gateways: list[Gateway]) -> list[Load]:
    """The database's host is cut off: callers reach the gateways, these reach nothing."""
    loads = [Load(gateway, token) for gateway in gateways]
    with loads[0], loads[1]:
        loads[0].more(50)
        began = time.monotonic()
        database.host.cut()
        wait_for(lambda: loads[0].others["503"] and loads[1].others["503"])
        line("database silent: callers hear 503 after s", f"{time.monotonic() - began:.1f}", "")
        time.sleep(CUT_SECONDS)
        database.host.joined()
        began = time.monotonic()
        loads[0].more(5)
        loads[1].more(5)
        line("database silent: both answer after s", f"{time.monotonic() - began:.1f}", "")
        line("database silent: callers heard", dict(loads[0].others + loads[1].others), "")
    return loads


def main(trials: int) -> int:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        patch.setenv("HOME", str(folder / "maker"))
        (folder / "maker/.config").mkdir(parents=True)
        made = folder / "made"
        scaffold.create(made, scaffold.clinical())
        lighten(made)
        assert casemate.open(made).run().verdict.outcome == "passed"
        with several(made, folder, 2) as (places, database):
            project = casemate.open(folder / "desk")
            with places[0].serving() as one, places[1].serving() as other:
                rates(project, [one, other])
                revocations(project, [one, other])
            for kind, words, lost in (("durable", (), "= 0"), ("batched", BATCHED, "(some)")):
                loads: list[Load] = []
                token, _ = new_token(project, kind)
                for _ in range(trials):
                    first = places[0].serving(*words)
                    with places[1].serving(*words) as living:
                        loads += killed(token, first, living)
                        with first as gateway:
                            loads += cut(token, places[0], gateway, living)
                            loads += crashed(token, database, [gateway, living])
                            loads += silent(token, database, [gateway, living])
                counted(kind, project, loads, lost)
            project.log.check()
            project.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS))
