"""A storm of alerts: `python bench/respond/storm.py [--alerts 100000] [--each 100]`.

Posts of Alertmanager's form are read and heard one after the other, as a gateway does it, of a
fleet that fails in one way; then all of them once more. It prints how many alerts a second were
heard, what memory grew by while ten times as many were, how long an alert took to become an
incident, and whether any was lost.
"""

import argparse
import datetime
import json
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path


def post(start: int, each: int, now: str) -> bytes:
    """One message of `each` alerts."""
    alerts = [
        {
            "status": "firing",
            "labels": {"alertname": "Down", "severity": "page", "instance": f"host{number}:9100"},
            "annotations": {"summary": f"host{number} does not answer"},
            "startsAt": now,
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus/graph",
        }
        for number in range(start, start + each)
    ]
    body = {"version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "alerts": alerts}
    return json.dumps(body).encode()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alerts", type=int, default=100_000)
    parser.add_argument("--each", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        measure(Path(folder) / "p", given.alerts, given.each)


def measure(root: Path, count: int, each: int) -> None:
    """One storm, and the same again, in a project of its own."""
    import sqlalchemy as sa

    import casemate
    from casemate.operations import scaffold
    from casemate.operations.incidents.intake import take
    from casemate.respond import tables
    from casemate.respond.readers import read

    scaffold.create(root, scaffold.clinical())
    project = casemate.open(root)
    now = datetime.datetime.now(datetime.UTC).isoformat()
    first, grown = 0, 0
    for turn in ("new", "repeated"):
        began, used, times = time.perf_counter(), time.process_time(), []
        for start in range(0, count, each):
            before = time.perf_counter()
            take(project, "bench", read(post(start, each, now), project.clock.now()))
            times.append(time.perf_counter() - before)
            if turn == "new" and start == count // 10 // each * each:
                first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds, used = time.perf_counter() - began, time.process_time() - used
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - first
        worst = sorted(times)[int(len(times) * 0.99)]
        print(
            f"{turn}: {count} alerts in {seconds:.1f} s, {count / seconds:.0f} a second"
            f" ({count / used:.0f} a second of processor time); a message of {each} took {statistics.median(times):.3f} s, the 99th percentile {worst:.3f} s"
        )
    with project.database.reading() as tx:
        table = tables.ALERTS
        known, heard = tx.execute(
            sa.select(sa.func.count(), sa.func.sum(table.c.heard)).select_from(table)
        ).one()
        incidents = tables.incidents(tx)
    print(f"memory grew by {grown / 1024:.1f} MiB from a tenth of the storm to its end")
    print(
        f"lost: {count - known} alerts, {2 * count - heard} messages; incidents: {len(incidents)}"
    )
    print(f"the incident stood {incidents[0].opened} for alerts that began {now}")


if __name__ == "__main__":
    main()
