"""The gateway beside the servers that people use today: requests per second, latency and CPU per
request, in one run.

The peers have no security at all and their default settings; each is installed once into an
environment of its own below `~/.cache/casemate-bench`. CPU is user and system time of the server's
whole process tree, over the requests it answered.
"""

import contextlib
import json
import math
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "casemate-bench"
SKLEARN = "scikit-learn==1.9.1"
PEERS = {
    "fastapi": [
        "fastapi==0.165.0",
        "uvicorn[standard]==0.54.0",
        SKLEARN,
        "onnxruntime==1.32.0",
        "skl2onnx==1.20.0",
        "joblib",
    ],
    "litserve": ["litserve==0.2.19", SKLEARN],
    "bentoml": ["bentoml==1.4.39", SKLEARN],
    "mlserver": ["mlserver==1.7.1", "mlserver-sklearn==1.7.1", "uvloop==0.21.0", SKLEARN],
    "mlflow": ["mlflow==3.17.2", SKLEARN],
}
MODELS = {
    "forest": "RandomForestClassifier(n_estimators=100, max_depth=12, random_state=0)",
    "logistic": "LogisticRegression(max_iter=2000)",
}
TRAIN = """from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
def build():
    return Pipeline([("scale", StandardScaler()), ("clf", {model})])
"""
FIT = """import joblib, sys
from sklearn.datasets import load_breast_cancer
sys.path.insert(0, ".")
from train import build
rows, classes = load_breast_cancer(return_X_y=True)
joblib.dump(build().fit(rows, classes), "model.joblib")
"""
FASTAPI = """import joblib, numpy as np
from fastapi import FastAPI
from pydantic import BaseModel
model = joblib.load("model.joblib")
app = FastAPI()
class Body(BaseModel):
    rows: list[list[float]]
@app.post("/predict")
def predict(body: Body):
    found = model.predict_proba(np.array(body.rows))
    return {"label": found.argmax(1).tolist(), "probabilities": found.tolist()}
"""
FASTAPI_ONNX = """import joblib, numpy as np, onnxruntime as ort
from fastapi import FastAPI
from pydantic import BaseModel
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
model = joblib.load("model.joblib")
graph = convert_sklearn(model, initial_types=[("x", FloatTensorType([None, 30]))], options={id(model): {"zipmap": False}}, target_opset={"": 18, "ai.onnx.ml": 3})
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
app = FastAPI()
class Body(BaseModel):
    rows: list[list[float]]
@app.post("/predict")
async def predict(body: Body):
    label, found = session.run(None, {"x": np.array(body.rows, dtype=np.float32)})
    return {"label": label.tolist(), "probabilities": found.tolist()}
"""
LITSERVE = """import joblib, numpy as np, litserve as ls
class Api(ls.LitAPI):
    def setup(self, device):
        self.model = joblib.load("model.joblib")
    def decode_request(self, request):
        return np.array(request["rows"])
    def predict(self, x):
        return self.model.predict_proba(x)
    def encode_response(self, output):
        return {"label": output.argmax(1).tolist(), "probabilities": output.tolist()}
if __name__ == "__main__":
    ls.LitServer(Api(), accelerator="cpu").run(port=PORT, host="127.0.0.1", generate_client_file=False)
"""
BENTOML = """import bentoml, joblib, numpy as np
@bentoml.service(workers=1)
class Peer:
    def __init__(self):
        self.model = joblib.load("model.joblib")
    @bentoml.api
    def predict(self, rows: list[list[float]]) -> dict:
        found = self.model.predict_proba(np.array(rows))
        return {"label": found.argmax(1).tolist(), "probabilities": found.tolist()}
"""
MLFLOW = """import joblib, mlflow
mlflow.sklearn.save_model(joblib.load("model.joblib"), "mlmodel", serialization_format="cloudpickle")
"""
LUA = """wrk.method = "POST"
wrk.path = "{path}"
local f = io.open("{body}", "rb"); wrk.body = f:read("*a"); f:close()
{headers}
"""


@dataclass
class Target:
    """A server under load."""

    url: str
    path: str
    body: bytes
    headers: dict[str, str]
    pid: int


@dataclass
class Load:
    """What a load did."""

    rate: float
    """Requests per second."""
    p50: float
    """Milliseconds."""
    p99: float
    cpu: float
    """Microseconds of CPU per request."""
    failed: int


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            fields = stat.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process tree, the dead children of its members included."""
    total = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """Proportional share of memory of a process tree."""
    total = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            total += int(
                re.findall(
                    r"^Pss:\s+(\d+)", Path(f"/proc/{one}/smaps_rollup").read_text(), re.MULTILINE
                )[0]
            )
    return total / 1024


def load(target: Target, connections: int, seconds: float, folder: Path) -> Load:
    """wrk, closed loop."""
    body, script = folder / "body", folder / "load.lua"
    body.write_bytes(target.body)
    headers = "\n".join(
        f'wrk.headers["{name}"] = "{value}"'
        for name, value in {"Content-Type": "application/json", **target.headers}.items()
    )
    script.write_text(LUA.format(path=target.path, body=body, headers=headers))
    before = cpu_seconds(target.pid)
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds:g}s",
        "--latency",
        "--timeout",
        "30s",
        "-s",
        str(script),
        target.url,
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = cpu_seconds(target.pid) - before
    count = int(re.findall(r"(\d+) requests in", told)[0])
    failed = sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", told))
    failed += sum(
        map(
            int,
            (re.findall(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", told) or [()])[0],
        )
    )
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}

    def quantile(name: str) -> float:
        value, unit = re.findall(rf"{name}%\s+([\d.]+)(us|ms|s)", told)[0]
        return float(value) * scale[unit]

    return Load(
        float(re.findall(r"Requests/sec:\s+([\d.]+)", told)[0]),
        quantile("50"),
        quantile("99"),
        used / max(count, 1) * 1e6,
        failed,
    )


def environment(name: str) -> Path:
    """The peer's own environment."""
    home = CACHE / name
    if not (home / "installed").exists():
        print(f"# installing {name}", file=sys.stderr, flush=True)
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run(
            [home / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *PEERS[name]],
            check=True,
        )
        (home / "installed").touch()
    return home / "bin"


@contextlib.contextmanager
def started(
    command: list[Any], folder: Path, url: str, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A server process that answers at `url`."""
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", **variables}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            stdout=log,
            stderr=log,
            env=settings,
            start_new_session=True,
        )
        try:
            for _ in range(600):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(url, timeout=1).close()
                    break
                if process.poll() is not None:
                    raise SystemExit(
                        f"{command[0]} ended: {(folder / 'server.log').read_text()[-2000:]}"
                    )
                time.sleep(0.1)
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _bodies(rows: int) -> tuple[list[list[float]], dict[str, bytes]]:
    from sklearn.datasets import load_breast_cancer

    values = load_breast_cancer().data[:rows].tolist()
    tensor = {
        "name": "x",
        "shape": [rows, 30],
        "datatype": "FP64",
        "data": [value for row in values for value in row],
    }
    return values, {
        "rows": json.dumps({"rows": values}).encode(),
        "v2": json.dumps({"inputs": [tensor]}).encode(),
        "mlflow": json.dumps({"inputs": values}).encode(),
    }


@contextlib.contextmanager
def peer(name: str, model: str, folder: Path, port: int) -> Iterator[tuple[Target, str]]:
    """A running peer and the kind of body that it takes."""
    home = environment(name.partition("+")[0])
    work = folder / f"{name}-{model}"
    if not work.exists():
        work.mkdir()
        (work / "train.py").write_text(TRAIN.format(model=MODELS[model]))
        subprocess.run([home / "python", "-c", FIT], cwd=work, check=True)
    ping, path, kind = f"http://127.0.0.1:{port}/docs", "/predict", "rows"
    if name.startswith("fastapi"):
        (work / "app.py").write_text(FASTAPI_ONNX if name.endswith("onnx") else FASTAPI)
        command: list[Any] = [
            home / "uvicorn",
            "app:app",
            "--port",
            port,
            "--log-level",
            "warning",
            "--no-access-log",
        ]
    elif name == "litserve":
        (work / "app.py").write_text(LITSERVE.replace("PORT", str(port)))
        command, ping = [home / "python", "app.py"], f"http://127.0.0.1:{port}/health"
    elif name == "bentoml":
        (work / "service.py").write_text(BENTOML)
        command, ping = (
            [
                home / "bentoml",
                "serve",
                "service:Peer",
                "--port",
                port,
                "--host",
                "127.0.0.1",
            ],
            f"http://127.0.0.1:{port}/livez",
        )
    elif name == "mlserver":
        (work / "model-settings.json").write_text(
            json.dumps(
                {
                    "name": "m",
                    "implementation": "mlserver_sklearn.SKLearnModel",
                    "parameters": {"uri": "model.joblib"},
                }
            )
        )
        (work / "settings.json").write_text(
            json.dumps(
                {
                    "http_port": port,
                    "grpc_port": port + 1,
                    "metrics_port": port + 2,
                    "parallel_workers": 0,
                    "debug": False,
                }
            )
        )
        command, ping, path, kind = (
            [home / "mlserver", "start", "."],
            f"http://127.0.0.1:{port}/v2/models/m/ready",
            "/v2/models/m/infer",
            "v2",
        )
    else:
        if not (work / "mlmodel").exists():
            subprocess.run(
                [home / "python", "-c", MLFLOW], cwd=work, check=True, capture_output=True
            )
        command = [
            home / "mlflow",
            "models",
            "serve",
            "-m",
            "mlmodel",
            "-p",
            port,
            "--env-manager",
            "local",
            "-w",
            "1",
        ]
        ping, path, kind = f"http://127.0.0.1:{port}/ping", "/invocations", "mlflow"
    with started(command, work, ping, PATH=f"{home}:{os.environ['PATH']}") as process:
        yield Target(f"http://127.0.0.1:{port}", path, b"", {}, process.pid), kind


def project(model: str, folder: Path, *, skops: bool = False) -> Path:
    """A project with a signed model."""
    root = folder / f"casemate-{model}{'-skops' if skops else ''}"
    if root.exists():
        return root
    casemate = [sys.executable, "-m", "casemate"]
    subprocess.run(
        [*casemate, "init", str(root), "--example", "clinical"], check=True, capture_output=True
    )
    text = TRAIN.format(model=MODELS[model])
    # The converter knows no factor analysis, so this forest stays a scikit-learn estimator.
    kept = text.replace("StandardScaler()", "FactorAnalysis(30, random_state=0)").replace(
        "preprocessing import StandardScaler", "decomposition import FactorAnalysis"
    )
    (root / "train.py").write_text(kept if skops else text)
    toml = (root / "casemate.toml").read_text()
    toml = (
        re.sub(r"(?m)^search.*\n", "", toml).partition("[gates]")[0]
        + "[gates]\nroc_auc = { min = 0.9 }\n[serve]\nport = 8443\n"
    )
    (root / "casemate.toml").write_text(toml)
    done = subprocess.run([*casemate, "run"], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    subprocess.run(
        [
            *casemate,
            "access",
            "token",
            "create",
            "bench",
            "--model",
            "*",
            "--days",
            "1",
            "--out",
            "token",
        ],
        cwd=root,
        check=True,
        capture_output=True,
    )
    return root


@contextlib.contextmanager
def gateway(root: Path, port: int, **settings: str) -> Iterator[tuple[Target, float]]:
    """A running gateway, and the seconds from its start to its first answer."""
    options = [
        word
        for name, value in {"serve.port": str(port), **settings}.items()
        for word in ("-s", f"{name}={value}")
    ]
    secure = settings.get("serve.tls") != '"proxy"'
    with (root / "server.log").open("w") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "casemate", "serve", *options],
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            ready = time.perf_counter() - began
            if "serving" not in line:
                raise SystemExit(line + (root / "server.log").read_text())
            token = (root / "token").read_text().strip()
            target = Target(
                f"http{'s' if secure else ''}://127.0.0.1:{port}",
                "/v2/models/wdbc/infer",
                b"",
                {"Authorization": f"Bearer {token}"},
                process.pid,
            )
            yield target, ready
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


ORDER = ("fastapi", "fastapi+onnx", "litserve", "bentoml", "mlserver", "mlflow")
PORT = 18900


def compare(seconds: float = 4.0) -> None:
    """Every server with the same models on the same rows; then the ratios that matter."""
    from run import line

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measured: dict[tuple[str, str, int], Load] = {}
        bodies = {rows: _bodies(rows)[1] for rows in (1, 100)}

        def take(
            who: str, model: str, target: Target, kind: str, plan: tuple[tuple[int, int], ...]
        ) -> None:
            for rows, connections in plan:
                target.body = bodies[rows][kind]
                load(target, connections, 1.0, folder)
                found = measured[who, model, rows * 1000 + connections] = load(
                    target, connections, seconds, folder
                )
                text = (
                    f"{found.rate:.0f} requests/s, p50 {found.p50:.2f} p99 {found.p99:.2f} ms,"
                    f" {found.cpu:.0f} us of CPU a request, {found.failed} failed"
                )
                print(
                    f"# {who}, {model}, {rows} rows, c={connections}: {text},"
                    f" {memory_mb(target.pid):.0f} MB",
                    flush=True,
                )

        for model in MODELS:
            plan = ((1, 32), (100, 32)) if model == "forest" else ((1, 32),)
            for offset, who in enumerate(ORDER if model == "forest" else ORDER[:2]):
                with peer(who, model, folder, PORT + 10 * offset) as (target, kind):
                    take(who, model, target, kind, plan)
            root = project(model, folder)
            for audit in ("batched", "durable"):
                for tls in ("proxy", "own"):
                    settings = {"serve.tls": f'"{tls}"', "serve.audit": f'"{audit}"'}
                    with gateway(root, PORT + 90, **settings) as (target, ready):
                        take(
                            f"casemate {audit}{'' if tls == 'proxy' else ' TLS'}",
                            model,
                            target,
                            "v2",
                            ((1, 1), *plan, (1, 64)),
                        )
                        if (model, audit, tls) == ("forest", "durable", "own"):
                            line("start of `casemate serve` to ready, s", ready, "<=1.5")
                            line(
                                "memory of the gateway after load, MB",
                                memory_mb(target.pid),
                                "<=200",
                            )
        root = project("forest", folder, skops=True)
        with gateway(root, PORT + 90, **{"serve.tls": '"proxy"'}) as (target, _):
            take("casemate durable, kept on skops", "forest", target, "v2", ((1, 32),))
        _ratios(measured, line)


def _ratios(measured: dict[tuple[str, str, int], Load], line: Any) -> None:
    at = lambda who, model="forest", rows=1, c=32: measured[who, model, rows * 1000 + c]  # noqa: E731
    for audit in ("batched", "durable"):
        ours = at(f"casemate {audit}")
        line(
            f"CPU a request, forest, c=32, {audit} / FastAPI + pickle",
            ours.cpu / at("fastapi").cpu,
            "<=0.0125",
        )
        line(f"requests/s, {audit} / FastAPI + pickle", ours.rate / at("fastapi").rate, ">=80")
        line(
            f"CPU a request, {audit} / FastAPI + onnxruntime",
            ours.cpu / at("fastapi+onnx").cpu,
            "<=0.7",
        )
        line(f"TLS adds, {audit}, us", at(f"casemate {audit} TLS").cpu - ours.cpu, "<=60")
        line(
            f"logistic regression, CPU, {audit} / FastAPI + scikit-learn",
            at(f"casemate {audit}", "logistic").cpu / at("fastapi", "logistic").cpu,
            "<=0.2",
        )
        line(
            f"100 rows, CPU, {audit} / FastAPI + pickle",
            at(f"casemate {audit}", rows=100).cpu / at("fastapi", rows=100).cpu,
            "<=0.111",
        )
        line(f"p99 at c=1, {audit}, TLS, ms", at(f"casemate {audit} TLS", c=1).p99, "<=1")
        for other in ORDER[2:]:
            line(f"CPU a request, {audit} / {other}", ours.cpu / at(other).cpu, "")
    line("requests/s, durable, c=64", at("casemate durable", c=64).rate, ">=3000")
    line(
        "kept on skops, CPU a request / FastAPI + pickle",
        at("casemate durable, kept on skops").cpu / at("fastapi").cpu,
        "<=0.2",
    )


def soak(minutes: float = 15.0) -> None:
    """Half of what it can, for long: memory, descriptors, failures, and how soon a revocation holds
    in the middle of it.
    """
    from run import line

    import casemate

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = project("forest", folder)
        with gateway(root, PORT + 90) as (target, _):
            target.body = _bodies(1)[1]["v2"]
            most = load(target, 16, 5, folder).rate
            answered, failed, series = 0, 0, []
            began, revoked = time.monotonic(), math.nan
            files = lambda: len(list(Path(f"/proc/{target.pid}/fd").iterdir()))  # noqa: E731
            while time.monotonic() - began < minutes * 60:
                found = paced(target, most / 2, 10.0)
                answered, failed = answered + found[0], failed + found[1]
                series.append((memory_mb(target.pid), files()))
                print(
                    f"# {time.monotonic() - began:.0f} s: {answered} answers, {failed} failed,"
                    f" {series[-1][0]:.0f} MB, {series[-1][1]} files",
                    flush=True,
                )
                if math.isnan(revoked) and time.monotonic() - began > minutes * 30:
                    revoked = _revoked(casemate.open(root), target)
            third = len(series) // 3
            line("soak at half capacity, requests/s", answered / (time.monotonic() - began), "")
            line("failed requests", failed, "<=0")
            line(
                "memory, last third less second third, MB",
                statistics.mean(m for m, _ in series[-third:])
                - statistics.mean(m for m, _ in series[third:-third]),
                "<=2",
            )
            line("open files, last less first", series[-1][1] - series[1][1], "<=0")
            line("revocation in mid-soak, s", revoked, "<=1")


def overload(seconds: float = 8.0) -> None:
    """Ten times as many callers as the gateway has room for: what the answers that it gives take,
    beside those at its full load.
    """
    from run import line

    room = 50
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = project("forest", folder)
        found: dict[int, float] = {}
        floods: list[Load] = []
        for times in (1, 10):
            with gateway(
                root, PORT + 90, **{"serve.max_waiting": str(room), "serve.tls": '"proxy"'}
            ) as (target, _):
                target.body = _bodies(1)[1]["v2"]
                flood = threading.Thread(
                    target=lambda: floods.append(
                        load(target, room * times - 16, seconds + 4, folder)  # noqa: B023
                    )
                )
                flood.start()
                time.sleep(2)
                times_taken: list[float] = []
                answered, refused = paced(target, 400, seconds, taken=times_taken)
                flood.join()
                found[times] = statistics.quantiles(times_taken, n=100)[98] * 1000
                good = floods[-1].rate - floods[-1].failed / (seconds + 4)
                text = f"{good:.0f} answers/s and {floods[-1].rate - good:.0f} refusals/s for all"
                print(
                    f"# {times} x {room} callers: p99 of {answered} answers {found[times]:.1f} ms,"
                    f" {refused} refused; {text}",
                    flush=True,
                )
        line(
            "p99 of what is answered, ten times too many callers / as many as there is room for",
            found[10] / found[1],
            "",
        )


def idle(count: int = 10_000) -> None:
    """So many callers that keep their connection open and say nothing: what each of them costs the
    gateway, and whether they are still heard.
    """
    import asyncio
    import ssl

    from run import line

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    async def hold(target: Target) -> None:
        port, head = (
            int(target.url.rpartition(":")[2]),
            "GET /v2 HTTP/1.1\r\nHost: x\r\nAuthorization:"
            f" {target.headers['Authorization']}\r\n\r\n".encode(),
        )
        room = asyncio.Semaphore(50)
        held: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

        async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            writer.write(head)
            answer = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.findall(rb"content-length: (\d+)", answer)[0]))
            return answer.startswith(b"HTTP/1.1 200")

        async def one() -> None:
            async with room:
                pair = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=4096)
                held.append(pair)
                if not await ask(*pair):
                    raise SystemExit("a caller was refused")

        before = memory_mb(target.pid)
        await asyncio.gather(*(one() for _ in range(count)))
        line(
            f"memory for each of {count} idle callers, KB",
            (memory_mb(target.pid) - before) * 1024 / count,
            "<=50",
        )
        line("of them still heard after 10 s", await _heard(held, ask), f">={count}")

    async def _heard(held: Any, ask: Any) -> int:
        await asyncio.sleep(10)
        return sum([await ask(*one) for one in held])

    with tempfile.TemporaryDirectory() as name:
        root = project("forest", Path(name))
        with gateway(
            root,
            PORT + 90,
            **{"serve.keep_alive": "900", "serve.limits.requests_per_minute": "1000000"},
        ) as (target, _):
            asyncio.run(hold(target))


def paced(
    target: Target,
    rate: float,
    seconds: float,
    connections: int = 16,
    taken: list[float] | None = None,
) -> tuple[int, int]:
    """(answers, failures) of a load of so many requests per second; `taken` gets the seconds of
    each answer.
    """
    import asyncio
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    head = "".join(
        f"{name}: {value}\r\n"
        for name, value in {
            "Host": "x",
            **target.headers,
            "Content-Length": len(target.body),
        }.items()
    )
    request = f"POST {target.path} HTTP/1.1\r\n{head}\r\n".encode() + target.body
    counts = [0, 0]

    async def one(end: float) -> None:
        host, port = target.url.rpartition("/")[2].split(":")
        reader, writer = await asyncio.open_connection(
            host, int(port), ssl=context if target.url.startswith("https") else None
        )
        due = time.monotonic()
        while due < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            began = time.monotonic()
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(re.findall(rb"content-length: (\d+)", answer)[0])
            await reader.readexactly(length)
            good = answer.startswith(b"HTTP/1.1 200")
            counts[0 if good else 1] += 1
            if good and taken is not None:
                taken.append(time.monotonic() - began)
            due += connections / rate
        writer.close()

    async def all_() -> None:
        end = time.monotonic() + seconds
        await asyncio.gather(*(one(end) for _ in range(connections)))

    asyncio.run(all_())
    return counts[0], counts[1]


def _revoked(project: Any, target: Target) -> float:
    """Seconds until a revoked token that is in use is refused."""
    import datetime

    token, identifier = project.access.create_token(
        "soaked", ["client"], ["*"], datetime.timedelta(hours=1)
    )
    other = Target(
        target.url, target.path, target.body, {"Authorization": f"Bearer {token}"}, target.pid
    )
    if paced(other, 100, 0.5, 1)[0] == 0:
        return math.inf
    project.access.revoke_token(identifier)
    began = time.monotonic()
    while time.monotonic() - began < 10 and paced(other, 200, 0.02, 1)[0]:
        pass
    return time.monotonic() - began


def layers(calls: int = 20_000) -> None:
    """What each layer of `Gateway.infer` costs by itself, in the order in which a request passes
    them.
    """
    import asyncio

    import numpy as np
    from run import line

    import casemate
    from casemate.serve import outputs
    from casemate.serve.batch import Job
    from casemate.serve.parts import assemble
    from casemate.serve.protocols import oip
    from casemate.serve.types import Answer

    def each(work: Any, count: int = calls) -> float:
        work()
        began = time.perf_counter()
        for _ in range(count):
            work()
        return (time.perf_counter() - began) / count * 1e6

    with tempfile.TemporaryDirectory() as name:
        root = project("forest", Path(name))
        parts = assemble(casemate.open(root, ['serve.audit="batched"']))
        gateway, body = parts.gateway, _bodies(1)[1]["v2"]
        token = (root / "token").read_text().strip().encode()
        scope = {
            "method": "POST",
            "path": "/v2/models/wdbc/infer",
            "headers": [(b"host", b"x"), (b"authorization", b"Bearer " + token)],
            "client": ("127.0.0.1", 1),
        }
        parts.gateway.admission.lifetime = 3600.0
        caller = gateway.admission.authenticate(scope)
        version = parts.model_set.served["wdbc"].live
        endpoint = version.endpoint
        asked = oip.read(endpoint, "wdbc", body, None, 100)
        many = np.repeat(asked.rows, 32, axis=0)
        codes, probabilities = endpoint.predict(asked.rows)
        told = outputs.shown(endpoint, codes.tolist(), probabilities, gateway.table.outputs)
        alone = {
            "identity: token to caller, remembered, us": (
                lambda: gateway.admission.authenticate(scope),
                1,
            ),
            "route: path to door, remembered, us": (lambda: gateway._find(scope["path"]), 1),
            "decision: Cedar, remembered, us": (lambda: gateway._permitted(caller, "wdbc"), 1),
            "choice of version, canary and waiver, us": (
                lambda: gateway._chosen("wdbc", None, caller),
                1,
            ),
            "protocol: bytes to rows, us": (lambda: oip.read(endpoint, "wdbc", body, None, 100), 1),
            "limits: enter and leave, us": (
                lambda: (
                    gateway.quota.enter(caller.principal.uid),
                    gateway.quota.reserve(caller.principal.uid, "wdbc", 1),
                    gateway.quota.leave(caller.principal.uid, "wdbc", 1),
                ),
                1,
            ),
            "guards, one row alone, us": (lambda: endpoint.guard(asked.rows), 1),
            "guards, a row of 32, us": (lambda: endpoint.guard(many), 32),
            "model, one row alone, us": (lambda: endpoint.predict(asked.rows), 1),
            "model, a row of 32, us": (lambda: endpoint.predict(many), 32),
            "outputs that may be seen, us": (
                lambda: outputs.shown(
                    endpoint, codes.tolist(), probabilities, gateway.table.outputs
                ),
                1,
            ),
            "protocol: answer to bytes, us": (lambda: asked.encode(endpoint, Answer(told, {})), 1),
        }
        for layer, (work, rows) in alone.items():
            line(layer, each(work, calls // rows) / rows, "")

        async def answered() -> None:
            future = asyncio.get_running_loop().create_future()
            from casemate.serve.recording import Asking

            numbers = iter(range(1, 10**9))
            job = Job(asked, time.perf_counter(), None, future)

            def one() -> None:
                job.context = Asking(
                    caller,
                    next(numbers),
                    time.perf_counter(),
                    "",
                    gateway.table.outputs,
                    version,
                    version.seen,
                    asyncio.get_running_loop().create_future(),
                )
                gateway.recording.answered(endpoint, job, codes.tolist(), probabilities, {})

            line(
                "all after the model: outputs, bytes, counts, quota, record with its"
                " commitment, us",
                each(one, calls // 2),
                "",
            )

        asyncio.run(answered())
        parts.close()
