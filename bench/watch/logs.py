"""The log store beside its limits: lines are added, then found, counted and asked about.

python bench/watch/logs.py [LINES]

LINES of a day of requests as the gateway tells them, one in five with a trace (default 1000000).
Each figure stands beside the most that it may be. CPU is of all threads.
"""

import datetime
import itertools
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from casemate.watch.logs import sql
from casemate.watch.logs.day import size
from casemate.watch.logs.line import LogLine
from casemate.watch.logs.query import parse
from casemate.watch.logs.store import LogStore

DAY = datetime.datetime(2026, 11, 28, tzinfo=datetime.UTC)
BATCH = 20_000
REPEATED = 20
REFUSALS = {"CM-DENIED": 403, "CM-DATA": 422, "CM-BUSY": 429, "CM-BACKEND": 503}


class Clock:
    """The end of the day, or an hour of the next one."""

    time = DAY + datetime.timedelta(hours=23)

    def now(self) -> datetime.datetime:
        """See `casemate.core.clock.Clock`."""
        return self.time


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
    clock = Clock()
    store = LogStore(folder, clock, 90, 100_000)
    seconds, cpu, source = 0.0, 0.0, lines(count)
    with store.writing():
        while clock.time.date() == DAY.date():
            batch = list(itertools.islice(source, BATCH))
            if not batch:
                clock.time += datetime.timedelta(hours=2)
            began, before = time.perf_counter(), time.process_time()
            store.add(batch)
            store.settle([DAY.date().isoformat()])
            seconds += time.perf_counter() - began
            cpu += time.process_time() - before
    # of this program alone: ru_maxrss would be that of whoever started it, if that was larger
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(seconds, cpu, int(status["VmHWM"].split()[0]) / 1024)


def asked(store: LogStore, query: str, limit: int) -> tuple[float, float]:
    """Milliseconds of a search, and those of CPU, medians of some: each opens the store anew."""
    wall, cpu = [], []
    for _ in range(REPEATED):
        began, before = time.perf_counter(), time.process_time()
        store.search(parse(query), limit)
        cpu.append((time.process_time() - before) * 1_000)
        wall.append((time.perf_counter() - began) * 1_000)
    return statistics.median(wall), statistics.median(cpu)


SQL = "select date_trunc('hour', time), count(*) from logs where level = 'error' group by 1"


def measure(line: Callable[[str, float, str], None], count: int = 1_000_000) -> None:
    """Fill a store and ask it."""
    with tempfile.TemporaryDirectory() as folder:
        told = subprocess.run(
            [sys.executable, __file__, folder, str(count)],
            capture_output=True,
            text=True,
            check=True,
        )
        seconds, cpu, memory = map(float, told.stdout.split())
        store = LogStore(Path(folder), Clock(), 90, 100_000)
        line("log store: adding 1 M lines, s", seconds * 1e6 / count, "<=60")
        line("log store: adding 1 M lines, s of CPU", cpu * 1e6 / count, "<=60")
        line("log store: size of 1 M lines, MB", size(Path(folder)) / count, "<=120")
        line("log store: memory while adding, MB", memory, "<=500")
        for name, query, limit, most in (
            ("a rare word", "zebra", 20, "<=10"),
            ("a word and a level, newest 50", "word77 AND level:info", 50, "<=50"),
        ):
            wall, cpu = asked(store, query, limit)
            line(f"log store: {name}, ms", wall, most)
            line(f"log store: {name}, ms of CPU", cpu, most)
        line("log store: counted by code, ms", took(lambda: store.count("code", parse(""))), "")
        line("log store: errors an hour in SQL, ms", took(lambda: sql.ask(store, SQL)), "")


def took(work: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1_000


def main() -> None:
    """Fill the folder that is named, or measure."""
    if len(sys.argv) == 3:
        fill(Path(sys.argv[1]), int(sys.argv[2]))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    measure(lambda name, value, limit: print(f"{name}\t{value:.4g}\t{limit}", flush=True), count)


if __name__ == "__main__":
    main()
