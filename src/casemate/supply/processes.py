"""The processes that will be confined."""

from typing import Self

from casemate.core.findings import attempts
from casemate.core.run import Run
from casemate.core.sandbox.helpers import Helpers
from casemate.core.sandbox.run import Worker
from casemate.core.sandbox.server import ForkServer
from casemate.core.types import Finding
from casemate.supply.context import RunContext


def _helpers(context: RunContext) -> Helpers | None:
    """Who does tasks for the jobs, where `[run] engine` says so."""
    if context.config.run.engine == "local":
        return None
    from casemate.supply.crew.dask import DaskHelpers

    return DaskHelpers(context.config.run.dask, context.root, context.config.train.threads)


class SandboxPool:
    """The processes that will be confined, warmed up while others work.

    What runs user code comes from a server of its own. Converting and assessing share one: they
    import the same packages, and each is a fork of a process that no job has touched.
    """

    JOBS = {
        "rehearse": "casemate.stages.train.fit:main",
        "reread": "casemate.stages.train.convert:main",
        "train": "casemate.stages.train.fit:main",
        "convert": "casemate.stages.train.convert:main",
        "assess": "casemate.stages.assess.worker:main",
    }
    FEDERATE = "casemate.stages.train.sites:main"
    """Trains made-up sites; no part of a run."""
    TASKS = {
        "train": "casemate.stages.train.tasks:main",
        "assess": "casemate.stages.assess.shadows:main",
    }
    """What does tasks of a job where there are helpers."""

    def __init__(self, context: RunContext, work: Run) -> None:
        trains = not work.has("train")
        fits, rehearses = (
            trains and context.config.train.model is None,
            trains and context.config.train.mode == "private",
        )
        todo = {
            "rehearse": rehearses,
            "reread": rehearses,
            "train": fits,
            "convert": trains,
            "assess": not work.has("assess"),
        }
        teams = [
            [job for job in team if todo[job]]
            for team in (("rehearse", "train"), ("reread", "convert", "assess"))
        ]
        self._teams = [team for team in teams if team]
        self._threads = context.config.train.threads
        self._servers: dict[str, ForkServer] = {}
        self._workers: dict[str, Worker] = {}
        self._helpers = _helpers(context) if fits or todo["assess"] else None

    def __enter__(self) -> Self:
        if self._helpers is not None:
            self._helpers.begin()
        for team in self._teams[:1]:
            self._start(team)
        return self

    def __getitem__(self, job: str) -> Worker:
        """Whoever does the job; all that follow start to warm up."""
        for team in self._teams:
            self._start(team)
        helpers = self._helpers if job in self.TASKS else None
        self._workers[job] = Worker(
            self.JOBS[job],
            server=self._servers[job],
            helpers=None if helpers is None else (helpers, self.TASKS[job]),
        )
        return self._workers[job]

    def tried(self, job: str) -> list[Finding]:
        """What the job's process tried so far, in words that everybody may read."""
        return attempts(self._workers[job].findings) if job in self._workers else []

    def _start(self, team: list[str]) -> None:
        if team[0] not in self._servers:
            self._servers |= dict.fromkeys(
                team, ForkServer([self.JOBS[job] for job in team], self._threads)
            )

    def __exit__(self, *_: object) -> None:
        if self._helpers is not None:
            self._helpers.close()
        for server in set(self._servers.values()):
            server.close()
