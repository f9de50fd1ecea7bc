"""`make bench`: every comparison as one tab-separated line: name, ratio or figure, limit with its
sign.

Both sides of a ratio run in this process's turn on this machine, interleaved where they are short.
Nothing here is a
test: a slow machine prints other figures, and the exit code is 0.
"""

import argparse
import datetime
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

CASEMATE = [sys.executable, "-m", "casemate"]
TOML = """[project]
name = "million"
id = "{id}"
[data]
source = "table.csv"
target = "y"
[screen]
cap = 1.0
[train]
entry = "train.py:build"
search = {{ "clf__C" = [0.1, 1.0] }}
folds = 3
[gates]
roc_auc = {{ min = 0.6 }}
"""


def line(name: str, value: float, limit: str) -> None:
    """Print one comparison."""
    print(f"{name}\t{value:.4g}\t{limit}", flush=True)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def quiet(command: list[str], folder: Path) -> None:
    """Run a command and fail loudly if it does."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"{' '.join(command)} exited {done.returncode}\n{done.stdout}{done.stderr}"
        )


def start() -> None:
    """`casemate --help`, and the time to the first line of `run`."""
    with tempfile.TemporaryDirectory() as folder:
        helps = [seconds(lambda: quiet([*CASEMATE, "--help"], Path(folder))) for _ in range(9)]
        line("casemate --help, ms", statistics.median(helps) * 1000, "<=150")
        quiet([*CASEMATE, "init", "p", "--example", "clinical"], Path(folder))

        def first() -> None:
            process = subprocess.Popen(
                [*CASEMATE, "run"], cwd=Path(folder) / "p", stderr=subprocess.PIPE
            )
            process.stderr.readline()
            process.kill()
            process.wait()

        line(
            "first line of casemate run, s",
            statistics.median(seconds(first) for _ in range(3)),
            "<=1",
        )


def demo() -> None:
    """What `make demo` does once everything is installed."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        took = seconds(lambda: quiet([*CASEMATE, "init", "p", "--example", "clinical"], root))
        took += seconds(lambda: quiet([*CASEMATE, "run"], root / "p"))
        took += seconds(lambda: quiet([*CASEMATE, "model", "export", "wdbc", "../out"], root / "p"))
        took += seconds(lambda: quiet([*CASEMATE, "verify", "out"], root))
        line("init + run + export + verify of the clinical example, s", took, "<=60")


def million(rows: int) -> None:
    """The secured run over the bare script on `rows` x 30."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generator = np.random.default_rng(0)
        features = generator.standard_normal((rows, 30))
        score = (
            features[:, :8] @ generator.standard_normal(8) + 0.5 * features[:, 8] * features[:, 9]
        )
        table = {f"x{i}": features[:, i] for i in range(30)} | {
            "y": (score + generator.standard_normal(rows) * 2 > 0).astype(int)
        }
        quiet([*CASEMATE, "init", ".", "--example", "clinical"], root)
        identifier = next(
            t for t in (root / "casemate.toml").read_text().split('"') if t.startswith("wdbc-")
        )
        pyarrow.csv.write_csv(pa.table(table), root / "table.csv")
        (root / "casemate.toml").write_text(TOML.format(id=identifier))
        bare = [
            seconds(
                lambda: quiet(
                    [sys.executable, str(Path(__file__).parent / "bare.py"), str(root)], root
                )
            )
        ]
        secured = [seconds(lambda: quiet([*CASEMATE, "run"], root))]
        line(
            f"secured run / bare script, {rows} x 30 ({secured[0]:.0f} s / {bare[0]:.0f} s)",
            secured[0] / bare[0],
            "<=1.25",
        )


def sealed(rows: int = 500_000) -> None:
    """Sealed write and read over plain Parquet, zstd."""
    from casemate.controls.keys import tables
    from casemate.controls.keys.parquet import ROW_GROUP
    from casemate.controls.keys.store import KeyStore

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        keys = KeyStore.create(root / "keys", "bench")
        generator = np.random.default_rng(0)
        table = pa.table({f"x{i}": generator.standard_normal(rows) for i in range(30)})
        classes = dict.fromkeys(table.column_names, "general")
        plain, ours = [], []
        read_plain, read_ours = [], []
        for turn in range(5):
            target = root / f"plain-{turn}.parquet"

            def write_plain(target: Path = target) -> None:
                pq.write_table(
                    table,
                    target,
                    compression="zstd",
                    compression_level=1,
                    row_group_size=ROW_GROUP,
                )
                descriptor = os.open(target, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)

            version = root / "sealed" / str(turn)
            plain.append(seconds(write_plain))
            ours.append(
                seconds(
                    lambda v=version: tables.seal(
                        table,
                        v,
                        keys.provider,
                        keys.signer,
                        classes,
                        {"name": "sealed", "version": v.name},
                    )
                )
            )
            read_plain.append(seconds(lambda t=target: pq.read_table(t)))
            read_ours.append(
                seconds(lambda v=version: tables.read(v, keys.provider, keys.signer.verifier))
            )
        line(
            "sealed write / plain Parquet, zstd",
            statistics.median(ours) / statistics.median(plain),
            "<=1.25",
        )
        line(
            "sealed read / plain Parquet, zstd",
            statistics.median(read_ours) / statistics.median(read_plain),
            "<=1.25",
        )


def keys(people: int = 200_000, size: int = 1 << 30) -> None:
    """Rotation per file whatever its size, the object stream, identifiers under subjects' keys,
    memory of a large object.
    """
    from casemate.controls.keys import tables
    from casemate.controls.keys.identifiers import Identifiers
    from casemate.controls.keys.objects import ObjectStore
    from casemate.controls.keys.store import KeyStore
    from casemate.controls.keys.subjects import SubjectKeys
    from casemate.core.blobs import FileBlobs

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = KeyStore.create(root / "keys", "bench")
        for name, rows in (("small", 1_000), ("large", 1_000_000)):
            made = []
            for number in range(12):
                made.append(root / name / str(number))
                table = pa.table({"x": np.zeros(rows) + number, "y": np.arange(rows)})
                about = {"name": name, "version": str(number)}
                tables.seal(
                    table,
                    made[-1],
                    store.provider,
                    store.signer,
                    {"x": "general", "y": "sensitive"},
                    about,
                )
            for key in ("footer", "general", "sensitive"):
                store.provider.rotate(key)
            took = statistics.median(
                seconds(lambda f=f: tables.rewrap(f, store.provider)) for f in made
            )
            line(f"rotation of a sealed table of {rows} rows, ms", 1000 * took, "<=5")
        objects = ObjectStore(FileBlobs(root / "objects"), store.provider)
        large = root / "large.bin"
        with large.open("wb") as file:
            for _ in range(size >> 20):
                file.write(os.urandom(1 << 20))
        digest = ""

        def put() -> None:
            nonlocal digest
            digest = objects.put_file(large)

        def copy() -> None:
            with (root / "plain.bin").open("wb") as to, large.open("rb") as source:
                while chunk := source.read(1 << 20):
                    to.write(chunk)
                to.flush()
                os.fsync(to.fileno())

        pairs = [(seconds(put), seconds(copy)) for _ in range(3)]
        line(
            "sealing an object of 1 GiB / plain copy with fsync",
            statistics.median(ours / plain for ours, plain in pairs),
            "",
        )
        opened = seconds(lambda: [None for _ in objects.pieces(digest)])
        line("object stream, opened, checked and hashed, GB/s", size / 1e9 / opened, ">=0.7")
        log = _log(root / "log")
        identifiers = Identifiers(log.store, SubjectKeys(store.provider, log.clock), store.provider)
        persons = pa.table(
            {
                "id": [f"person-{n // 5}" for n in range(people)],
                "phone": [f"+49 {n:08d}" for n in range(people)],
            }
        )
        sealed: list[pa.Table] = []
        took = seconds(lambda: sealed.append(identifiers.seal(persons, "id", ["id", "phone"])))
        line("identifiers sealed under subjects' keys, values/s", 2 * people / took, ">=150000")
        took = seconds(lambda: identifiers.open(sealed[0]))
        line("identifiers opened, values/s", 2 * people / took, ">=150000")


def _log(root: Path) -> Any:
    from casemate.controls.audit.bodies import Bodies
    from casemate.controls.audit.checkpoint import CheckpointSigner
    from casemate.controls.audit.log import AuditLog
    from casemate.controls.keys.store import KeyStore
    from casemate.controls.keys.subjects import SubjectKeys
    from casemate.core.clock import SystemClock
    from casemate.core.store.sqlite import SqliteStore

    root.mkdir(exist_ok=True)
    keys = KeyStore.create(root / "keys", "bench")
    store = SqliteStore(root / "catalog.db")
    store.upgrade()
    clock = SystemClock()
    log = AuditLog(
        root / "audit",
        store,
        CheckpointSigner("bench", *keys.log_keys),
        clock,
        Bodies(keys.provider),
        SubjectKeys(keys.provider, clock),
    )
    with store.transaction() as tx:
        log.create(tx)
    return log


def audit(entries: int = 40_000, writers: int = 64) -> None:
    """Durable appends with many writers and with one, offline verification, size of a proof in a
    log of a million.
    """
    import threading

    from casemate.controls.audit import tiles
    from casemate.controls.audit.commit import GroupCommit
    from casemate.controls.audit.merkle import inclusion_proof
    from casemate.controls.audit.verify import verify_log

    with tempfile.TemporaryDirectory() as folder:
        log = _log(Path(folder))
        group = GroupCommit(log)

        def write(count: int) -> None:
            for _ in range(count):
                group.append(
                    'Service::"s"', "model:infer", 'Model::"m@1"', "allowed", {"rows": 1}
                ).result()

        took = seconds(lambda: write(1000))
        line("audit log, durable appends with one writer, 1/s", 1000 / took, ">=500")
        threads = [
            threading.Thread(target=write, args=(entries // writers,)) for _ in range(writers)
        ]
        took = seconds(
            lambda: ([thread.start() for thread in threads], [thread.join() for thread in threads])
        )
        group.close()
        line(f"audit log, durable appends with {writers} writers, 1/s", entries / took, ">=5000")
        while log.size() < 1_000_000:
            with log.store.transaction() as tx:
                log.append_many(tx, [("s", "model:infer", "m", "allowed", {})] * 50_000)
        log.publish()
        size = log.size()
        took = seconds(lambda: verify_log(log.folder, log.signer.vkeys))
        line("audit log, offline verification, entries/s", size / took, ">=100000")
        hashes = inclusion_proof(size // 3, size, tiles.nodes_of(log.folder, size))
        line(f"inclusion proof at {size} entries, bytes of hashes", 32.0 * len(hashes), "<=2048")
        line(
            "the same as a file, with entry, checkpoint and both signatures",
            float(len(log.prove(size // 3))),
            "",
        )


def engine(steps: int = 30) -> None:
    """What a step costs beside its work, and what resuming costs."""
    from casemate.core.clock import SystemClock
    from casemate.core.engine import Engine
    from casemate.core.steps import STAGES
    from casemate.core.types import Finding

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        log = _log(root)
        runner = Engine(log.store, log, SystemClock(), root / "runs")
        record = Finding(id="x", severity="low", confidence="low", message="x")
        took, resumed = [], []
        for number in range(steps // len(STAGES) + 1):
            inputs = dict.fromkeys(STAGES, str(number))
            run = runner.begin(inputs, "me")
            run.step("data", Finding, lambda: record)
            resumed.append(
                seconds(
                    lambda i=inputs: runner.begin(i, "me").step("data", Finding, lambda: record)
                )
            )
            run = runner.begin(inputs, "me")
            took += [
                seconds(lambda r=run, s=stage: r.step(s, Finding, lambda: record))
                for stage in STAGES[1:]
            ]
            run.finish("passed")
        line(
            "bookkeeping of a step (lease, evidence, record, log, tiles, checkpoint), ms",
            1000 * statistics.median(took),
            "<=30",
        )
        line(
            "taking a run over and passing its finished step, ms",
            1000 * statistics.median(resumed),
            "<=2000",
        )


def _policies(count: int) -> tuple[Any, Any]:
    """Policies spread over roles and actions, and as many that are all about one."""
    from casemate.controls.access.policy import Policy

    def own(roles: tuple[str, ...], asked: tuple[str, ...]) -> Policy:
        made = [
            f'@id("own-{n}") permit (principal in Role::"{roles[n % len(roles)]}", action =='
            f' Action::"{asked[n % len(asked)]}", resource) when {{ context.purpose == "p{n}" &&'
            f" context.hour >= {n % 24} }};"
            for n in range(count)
        ]
        return Policy({"own.cedar": "\n".join(made)}, "p")

    some = ("model:infer", "model:read", "run:read", "dataset:list", "metrics:read")
    return own(("client", "auditor", "operator", "monitor"), some), own(("client",), some[:1])


def _revoked(admission: Any, scope: dict[str, Any], revoke: Callable[[], None]) -> float:
    """Seconds from a revocation to the first refusal, asked a thousand times a second."""
    import asyncio

    from casemate.core.errors import AccessDenied

    async def measure() -> float:
        watch = asyncio.create_task(admission.watch())
        await asyncio.sleep(0.3)
        admission.authenticate(scope)
        revoke()
        began = time.perf_counter()
        while True:
            try:
                admission.authenticate(scope)
            except AccessDenied:
                watch.cancel()
                return time.perf_counter() - began
            await asyncio.sleep(0.001)

    return asyncio.run(measure())


def access(policies: int = 100, calls: int = 20_000) -> None:
    """A decision cached and not, a session check, how soon a revocation is seen, a login beside its
    password hash.
    """
    from casemate.controls.access.identity.accounts import Accounts
    from casemate.controls.access.policy import Resource
    from casemate.controls.audit.commit import GroupCommit
    from casemate.operations import scaffold
    from casemate.operations.access import machines, people
    from casemate.serve.admission import Admission
    from casemate.serve.health import Health
    from casemate.serve.metrics import Metrics
    from casemate.serve.quota import Quota

    def each(work: Callable[[], object], count: int) -> float:
        """Microseconds a call, best of five."""
        return min(seconds(lambda: [work() for _ in range(count)]) for _ in range(5)) / count * 1e6

    with tempfile.TemporaryDirectory() as folder:
        home, os.environ["HOME"] = os.environ["HOME"], folder
        project = scaffold.create(Path(folder) / "p", scaffold.clinical())
        point = project.point
        spread, worst = _policies(policies)
        token, identifier = machines.create_token(
            project, "svc", ["client"], ["*"], datetime.timedelta(hours=1)
        )
        service = point.tokens.authenticate(token).principal
        situation, resource = point.situation(), Resource("Model", "wdbc")
        for name, policy, limit in (
            ("spread over roles and actions", spread, "<=150"),
            ("all about this role and action", worst, ""),
        ):
            assert policy.decide(service, "model:infer", resource, situation).allowed
            took = each(
                lambda p=policy: p.decide(service, "model:infer", resource, point.situation()),
                calls // 20,
            )
            line(
                f"decision with {policies} policies of the project, {name}, not cached, us",
                took,
                limit,
            )
        group = GroupCommit(project.log)
        admission = Admission(
            point,
            group,
            Quota(project.usage, project.clock, project.config.serve.limits, lambda *_: None),
            Health(Metrics()),
        )
        admission.lifetime = 3600.0
        scope = {
            "headers": [(b"host", b"x"), (b"authorization", b"Bearer " + token.encode())],
            "client": ("127.0.0.1", 1),
        }
        line("session check, us", each(lambda: admission.authenticate(scope), calls), "<=2")
        caller = admission.authenticate(scope)
        line(
            "decision, cached, us",
            each(lambda: admission.require(caller, "model:infer", resource), calls),
            "<=1",
        )

        line(
            "revocation seen by a gateway whose cache would last an hour, s",
            _revoked(admission, scope, lambda: machines.revoke_token(project, identifier)),
            "<=1",
        )
        group.close()
        password = "correct horse battery staple"
        people.add_user(project, "ben", ["auditor"], password)
        accounts = Accounts(point.directory)
        hashing = min(seconds(lambda: accounts.derive("ben", password)) for _ in range(5))
        login = min(seconds(lambda: project.logins.login("ben", password, None)) for _ in range(5))
        line(f"login beside the password hash of {hashing:.2f} s, s", login - hashing, "<=0.3")
        os.environ["HOME"] = home


def trust() -> None:
    """Label noise, backdoors, private training on the real tables of `../shared/cases`."""
    import trust as figures

    figures.tables(line)


def images() -> None:
    """MNIST: private and hardened networks (needs torch; ten minutes)."""
    import trust as figures

    figures.pictures(line)


def serving() -> None:
    """The gateway beside other servers (each installed once, some minutes; needs wrk)."""
    import serving as servers

    servers.compare()


def layers() -> None:
    """The gateway's layers one by one."""
    import serving as servers

    servers.layers()


def overload() -> None:
    """The gateway under ten times the load that it has room for."""
    import serving as servers

    servers.overload()


def idle() -> None:
    """Ten thousand callers who keep their connections."""
    import serving as servers

    servers.idle()


def soak() -> None:
    """A quarter of an hour at half capacity (needs wrk)."""
    import serving as servers

    servers.soak()


def logs() -> None:
    """A million lines in the log store."""
    from watch import logs as store

    store.measure(line)


def main() -> None:
    """Run all comparisons, or those named."""
    known = {
        "start": start,
        "demo": demo,
        "sealed": sealed,
        "keys": keys,
        "audit": audit,
        "engine": engine,
        "access": access,
        "trust": trust,
        "images": images,
        "layers": layers,
        "logs": logs,
        "serving": serving,
        "overload": overload,
        "soak": soak,
        "idle": idle,
        "million": None,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", choices=[*known, []], help="comparisons to run (default: all)"
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    for name in arguments.names or known:
        million(arguments.rows) if name == "million" else known[name]()


if __name__ == "__main__":
    main()
