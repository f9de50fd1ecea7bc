"""Waiting for what a cluster does by itself, bounded in time."""

from collections.abc import Callable

from casemate.core.errors import RefusedError
from casemate.deploy.cluster.back import job_state, readiness
from casemate.deploy.cluster.client import Cluster
from casemate.deploy.cluster.documents import REVISION, Document, key_of
from casemate.deploy.cluster.types import Limits


class Waiting:
    """Looks again and again, and shows each time that this process lives."""

    def __init__(
        self,
        cluster: Cluster,
        limits: Limits,
        *,
        progress: Callable[[str], None],
        pause: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.cluster, self.limits = cluster, limits
        self.progress, self.pause, self.clock = progress, pause, clock

    def jobs(self, documents: list[Document]) -> None:
        """What must have run before pods start, such as an upgrade of the catalogue."""
        end = self.clock() + self.limits.ready
        for one in documents:
            key = key_of(one)
            while one["kind"] == "Job":
                there = self.cluster.get(key)
                state = job_state(there)
                if state == "complete" or there is None:  # done and cleared away
                    break
                if state == "failed" or self.clock() >= end:
                    raise RefusedError(
                        f"{key} has {'failed' if state == 'failed' else 'not ended'}",
                        hint=f"kubectl logs -n {key.namespace} job/{key.name}",
                    )
                self.progress(f"waiting for {key}")
                self.pause()

    def ready(self, documents: list[Document]) -> None:
        """Until every pod of these Deployments answers; RefusedError: they do not."""
        end = self.clock() + self.limits.ready
        for one in documents:
            key = key_of(one)
            while True:
                there = self.cluster.get(key)
                if there is None:
                    raise RefusedError(f"{key} was removed by somebody while it started")
                state, failed = readiness(there)
                if not state:
                    break
                if failed or self.clock() >= end:
                    raise RefusedError(
                        f"{key} is not ready: {state}"
                        + ("" if failed else f" after {self.limits.ready:.0f} s"),
                        hint=f"kubectl describe pods -n {key.namespace} -l {REVISION}="
                        f"{one['metadata']['labels'][REVISION]}; everything is as it was",
                    )
                self.progress(f"waiting for {key}: {state}")
                self.pause()
