"""A node of a run's own cluster: `python -m casemate.supply.crew.node scheduler|worker FOLDER PID`.

It listens on the loopback alone, shows no dashboard, spills nothing, and ends with whoever started
it. What Dask reads of the machine's configuration is left out: whatever this does is said here.
"""

import asyncio
import os
import ssl
import sys
from pathlib import Path
from typing import Any

from casemate.core.files import write_atomic
from casemate.core.sandbox import confine
from casemate.core.sandbox.run import SYSTEM_PATHS, interpreter_paths

HOST = "127.0.0.1"
ADDRESS = "address"
"""The file that the scheduler writes once it listens."""
SETTINGS: dict[str, Any] = {
    # what Dask does as memory fills: the sandbox bounds what a job takes, and rows stay off disks
    **{
        f"distributed.worker.memory.{at}": False for at in ("target", "spill", "pause", "terminate")
    },
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.admin.system-monitor.disk": False,
    "distributed.worker.profile.enabled": False,  # samples of the stacks of what runs
}


async def _scheduler(folder: Path, security: Any) -> None:
    from distributed import Scheduler

    async with Scheduler(
        host=HOST,
        port=0,
        protocol="tls",
        security=security,
        dashboard=False,
        dashboard_address=f"{HOST}:0",
    ) as scheduler:
        write_atomic(folder / ADDRESS, scheduler.address.encode())
        await scheduler.finished()


async def _worker(folder: Path, security: Any) -> None:
    from distributed import Worker

    async with Worker(
        (folder / ADDRESS).read_text(),
        host=HOST,
        protocol="tls",
        security=security,
        nthreads=1,
        memory_limit=0,
        dashboard=False,
        dashboard_address=f"{HOST}:0",
        local_directory=str(folder / "work"),
    ) as worker:
        await worker.finished()


def main() -> int:
    """Until the cluster ends."""
    confine.die_with_parent()
    kind, folder, parent = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if os.getppid() != parent:  # it ended before we could ask to end with it
        return 1
    if kind == "scheduler":  # a worker's jobs enter namespaces, which Landlock would not let them
        write = ["/dev/null", str(folder)]
        read = [*interpreter_paths(), *SYSTEM_PATHS, "/proc"]
        confine.landlock(read, write, network=True)
    import dask
    from distributed import Security

    dask.config.set(SETTINGS)
    files = {"cert": f"{folder}/cert.pem", "key": f"{folder}/key.pem"}
    security = Security(
        require_encryption=True,
        tls_min_version=ssl.TLSVersion.TLSv1_3,
        tls_ca_file=f"{folder}/ca.pem",
        **{
            f"tls_{role}_{name}": path
            for role in ("client", "scheduler", "worker")
            for name, path in files.items()
        },
    )
    asyncio.run((_scheduler if kind == "scheduler" else _worker)(folder, security))
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
