"""Who does a search's trials: this process, processes beside it, or a cluster of Dask."""

import tempfile
import textwrap
from pathlib import Path

import msgspec
import pyarrow as pa

from casemate.config import Config, DataTable
from casemate.core.sandbox.failure import JobLimits
from casemate.core.sandbox.run import Outcome, Worker
from casemate.core.sandbox.server import ForkServer
from casemate.stages.data import schema as schemas
from casemate.stages.train.stage import SAFE

TRAIN, TASKS = "casemate.stages.train.fit:main", "casemate.stages.train.tasks:main"


class Crew:
    """Trains in the real sandbox, with these helpers or none."""

    def __init__(self, folder: Path, server: ForkServer, helpers=None, overrides=()) -> None:
        self.folder, self.server = folder, server
        self.helpers, self.overrides = helpers, overrides

    def train(self, code: str, table: pa.Table, options: Config, seconds: float = 60.0) -> Outcome:
        """What came back of one training."""
        schema, _ = schemas.infer(table, DataTable(source="t", target="y"))
        study = Path(tempfile.mkdtemp(dir=self.folder))
        job = {
            "entry": options.train.entry,
            "schema": msgspec.to_builtins(schema),
            "train": msgspec.to_builtins(options.train),
            "grouped": False,
            "study": str(study),
        }
        helpers = None if self.helpers is None else (self.helpers, TASKS)
        with Worker(TRAIN, server=self.server, helpers=helpers) as worker:
            return worker.run(
                job,
                tables=[table],
                inputs={"train.py": textwrap.dedent(code).encode()},
                scratch=Path(tempfile.mkdtemp(dir=self.folder)),
                limits=JobLimits(seconds, 4 * 2**30),
                required=True,
                outputs=SAFE,
                hidden=[self.folder / "keys"],
                writable=[study],
            )
