"""The log store beside its limits: lines are added, then found, counted and asked about.

python bench/watch/logs.py [LINES]

LINES of a day of requests as the gateway tells them, one in five with a trace (default 1000000).
Each figure stands beside the most that it may be.
"""

import datetime
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from casemate.watch.logs.day import size
from casemate.watch.logs.line import LogLine
from casemate.watch.logs.query import parse
from casemate.watch.logs.store import LogStore

DAY = datetime.datetime(2026, 11, 28, tzinfo=datetime.UTC)
BATCH = 20_000
REPEATED = 20
LIMITS = {
    "adding, s": 60.0,
    "size, MB": 120.0,
    "memory, MB": 500.0,
    "a rare word, ms": 10.0,
    "a word and a level, newest 50, ms": 50.0,
}
REFUSALS = {"CM-DENIED": 403, "CM-DATA": 422, "CM-BUSY": 429, "CM-BACKEND": 503}


class Clock:
    """The next day."""

    def now(self) -> datetime.datetime:
        """See `casemate.core.clock.Clock`."""
        return DAY + datetime.timedelta(days=1, hours=1)


def lines(count: int) -> Iterator[LogLine]:
    """A day of requests."""
    drawn = random.Random(0)
    for number in range(count):
        time_ = DAY + datetime.timedelta(seconds=86_400 * number / count)
        code = drawn.choice(list(REFUSALS)) if drawn.random() < 0.05 else ""
        status = REFUSALS.get(code, 200)
        user = f'Service::"svc{drawn.randrange(50)}"'
        model = f"model{drawn.randrange(20)}"
        identifier = f"5f0c1a9be2d4-{number:x}"
        word = "zebra" if number % (count // 20) == 7 else f"word{drawn.randrange(5_000)}"
        yield LogLine(
            time=time_.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            level="error" if status >= 500 else "warning" if code else "info",
            message=f"{user} asked for infer of {model}: {status} {code} {word}",
            id=identifier,
            dataset="casemate.request",
            action="infer",
            outcome="failure" if code else "success",
            reason="refused" if code else "answered",
            duration=drawn.randrange(300, 20_000) * 1_000,
            user=user,
            node="5f0c1a9be2d4",
            trace=f"{drawn.getrandbits(128):032x}" if drawn.random() < 0.2 else "",
            request=identifier,
            method="POST",
            status=status,
            size=drawn.randrange(100, 2_000),
            code=code,
            model=model,
        )


def fill(folder: Path, count: int) -> None:
    """Add the lines, in a process of its own so that its memory is known."""
    store = LogStore(folder, Clock(), 90, 100_000)
    seconds, batch = 0.0, []
    with store.writing():
        for line in lines(count):
            batch.append(line)
            if len(batch) == BATCH:
                began = time.perf_counter()
                store.add(batch)
                seconds, batch = seconds + time.perf_counter() - began, []
        began = time.perf_counter()
        store.add(batch)
        store.settle([DAY.date().isoformat()])
        seconds += time.perf_counter() - began
    # of this program alone: ru_maxrss would be that of whoever started it, if that was larger
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(seconds, int(status["VmHWM"].split()[0]) / 1024)


def asked(store: LogStore, query: str, limit: int) -> float:
    """Milliseconds of a search, the median of some: each opens the store anew."""
    took = []
    for _ in range(REPEATED):
        began = time.perf_counter()
        store.search(parse(query), limit)
        took.append((time.perf_counter() - began) * 1_000)
    return statistics.median(took)


def main() -> None:
    """Fill a store and ask it."""
    if len(sys.argv) == 3:
        fill(Path(sys.argv[1]), int(sys.argv[2]))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        told = subprocess.run(
            [sys.executable, __file__, folder, str(count)],
            capture_output=True,
            text=True,
            check=True,
        )
        seconds, memory = map(float, told.stdout.split())
        store = LogStore(Path(folder), Clock(), 90, 100_000)
        figures = {
            "adding, s": seconds,
            "size, MB": size(Path(folder)) / 1e6,
            "memory, MB": memory,
            "a rare word, ms": asked(store, "zebra", 20),
            "a word and a level, newest 50, ms": asked(store, "word77 AND level:info", 50),
        }
        for name, figure in figures.items():
            print(f"{name:40}{figure:10.1f}   at most {LIMITS[name]:.0f}")
        from casemate.watch.logs.sql import ask

        for name, what in (
            ("counted by code, ms", lambda: store.count("code", parse(""))),
            ("errors an hour in SQL, ms", lambda: ask(store, SQL)),
        ):
            began = time.perf_counter()
            what()
            print(f"{name:40}{(time.perf_counter() - began) * 1_000:10.1f}")


SQL = "select date_trunc('hour', time), count(*) from logs where level = 'error' group by 1"

if __name__ == "__main__":
    main()
