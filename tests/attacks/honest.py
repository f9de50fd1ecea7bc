"""Training code that does what libraries do, for the tests of the sandbox: all of it must work, and
nothing is a finding.

`python -m tests.attacks.honest FOLDER` trains with it and prints what came back.
"""

import json
import sys
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from casemate.config import DataTable, TrainTable
from casemate.core.sandbox.failure import JobFailed, JobLimits
from casemate.core.sandbox.run import Worker
from casemate.stages.data import schema as schemas

CODE = """
import asyncio, mmap, multiprocessing, os, shutil, socket, sqlite3, subprocess, sys, tempfile, threading, time

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import torch
from sklearn.ensemble import RandomForestClassifier

def total(values, power):
    return float((values ** power).sum())

def square(value):
    return value * value

def files():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "one")
        with open(path, "w") as file:
            file.write("x")
        shutil.copy(path, path + "1")
        shutil.copy2(path, path + "2")
        shutil.move(path + "2", path + "3")
        assert [open(path + copied).read() for copied in "13"] == ["x", "x"]
        shutil.copytree(folder, folder + "-copy")
        shutil.make_archive(folder + "-archive", "tar", folder)
        shutil.unpack_archive(folder + "-archive.tar", folder + "-again")
        os.chmod(path, 0o600)
        os.utime(path)
        with sqlite3.connect(path + ".db") as database:
            database.execute("create table t (a)")
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            memory[0:1] = b"y"

def processes():
    values = np.arange(1_000_000, dtype=float)
    expected = [total(values, power) for power in (1, 2)]
    assert joblib.Parallel(n_jobs=2)(joblib.delayed(total)(values, power) for power in (1, 2)) == expected
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(square, [1, 2, 3]) == [1, 4, 9]
    one, other = socket.socketpair()
    one.sendall(b"x")
    assert other.recv(1) == b"x"
    assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True, check=True).stdout == "1\\n"
    assert subprocess.run("/bin/echo $((1 + 1))", shell=True, capture_output=True, text=True, check=True).stdout == "2\\n"
    ended = subprocess.Popen(["/bin/true"])
    time.sleep(0.5)  # nobody has waited for it, the watcher looks at it
    assert ended.wait() == 0
    threads = [threading.Thread(target=time.sleep, args=(0.01,)) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

async def waiting():
    process = await asyncio.create_subprocess_exec("/bin/echo", "x", stdout=asyncio.subprocess.PIPE)
    assert (await process.communicate())[0] == b"x\\n"
    await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.01)

def libraries():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    network(torch.randn(64, 4)).sum().backward()
    loader = torch.utils.data.DataLoader(list(range(8)), batch_size=4)
    assert len(list(loader)) == 2
    table = pa.table({"a": list(range(100_000))})
    assert pa.compute.sum(table["a"]).as_py() == 4_999_950_000
    frame = table.to_pandas()
    frame.to_parquet("t.parquet")
    assert len(pd.read_parquet("t.parquet")) == 100_000
    joblib.dump({"a": np.zeros(10)}, "dumped", compress=3)
    assert joblib.load("dumped")["a"].shape == (10,)

def build():  # not above: loky's workers import this file
    files()
    processes()
    asyncio.run(waiting())
    libraries()
    return RandomForestClassifier(n_estimators=4, max_depth=3, n_jobs=2, random_state=0)
"""


def main() -> None:
    """Train, and print what came back."""
    folder = Path(sys.argv[1])
    for name in ("scratch", "study"):
        (folder / name).mkdir(parents=True)
    # enough to be shared between processes as a file
    values = np.random.default_rng(0).standard_normal((6000, 30))
    table = pa.table(
        {
            **{f"c{n}": column for n, column in enumerate(values.T)},
            "y": [str(int(row[0] > 0)) for row in values],
        }
    )
    schema, _ = schemas.infer(table, DataTable(source="t", target="y"))
    job = {
        "entry": "train.py:build",
        "schema": msgspec.to_builtins(schema),
        "train": msgspec.to_builtins(TrainTable(entry="train.py:build", jobs=2, folds=3)),
        "grouped": False,
        "study": str(folder / "study"),
    }
    limits, hidden = JobLimits(300, 8 * 2**30), [folder / "keys"]
    convert = {
        "schema": job["schema"],
        "classes": TrainTable(entry="train.py:build").classes,
        "seconds": 300,
    }
    with (
        Worker("casemate.stages.train.fit:main", 1) as worker,
        Worker("casemate.stages.train.convert:main", 1) as converter,
    ):
        try:
            outcome = worker.run(
                job,
                tables=[table],
                inputs={"train.py": CODE.encode()},
                scratch=folder / "scratch",
                limits=limits,
                required=True,
                outputs=("model.skops", "model.onnx"),
                hidden=hidden,
                writable=[folder / "study"],
            )
            (folder / "second").mkdir()
            made = converter.run(
                convert,
                tables=[],
                inputs=outcome.files,
                scratch=folder / "second",
                limits=limits,
                required=True,
                outputs=("model.skops", "model.onnx"),
                hidden=hidden,
            )
        except JobFailed as error:
            print(json.dumps({"error": error.message, "hint": error.hint}))
            return
    findings = [
        f"{finding.id}: {finding.message}" for finding in [*outcome.findings, *made.findings]
    ]
    print(
        json.dumps(
            {
                "files": [sorted(outcome.files), sorted(made.files)],
                "findings": findings,
                "isolation": outcome.isolation,
            }
        )
    )


if __name__ == "__main__":
    main()
