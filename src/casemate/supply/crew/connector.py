"""The process that speaks Dask: `python -m casemate.supply.crew.connector`.

It reads `messages.Asked` from standard input and writes `messages.Heard` to standard output. Dask's
messages are pickles: whoever holds a certificate of the cluster may run code in this process. So it
confines itself before it connects: by Landlock it reads Python and one certificate, writes nothing,
and what passes through it is sealed.
"""

import os
import ssl
import sys
import threading
import time
from typing import Any, BinaryIO

from casemate.core.sandbox import confine
from casemate.core.sandbox.run import SYSTEM_PATHS, interpreter_paths
from casemate.supply.crew import messages, worker

NAMES = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/host.conf")
"""What finding a host by its name reads."""
LOOK = 1.0
"""Seconds between two looks at who is there."""
DEATHS = 3
"""Workers that a task may take with it before it counts as failed: Dask's own number."""


class Connector:
    """One connection to a cluster."""

    def __init__(self, client: Any, out: BinaryIO, seconds: float) -> None:
        self._client, self._out, self._seconds = client, out, seconds
        self._lock = threading.Lock()
        self._futures: dict[int, Any] = {}
        self._lost = False

    def say(self, message: Any) -> None:
        """Tell the run."""
        with self._lock:
            messages.write(self._out, message)

    def lose(self, why: str) -> None:
        """Nothing more will come."""
        if not self._lost:
            self._lost = True
            self.say(messages.Lost(why=why))

    def greet(self) -> None:
        """Everybody's introduction."""
        self.say(messages.Workers(found=self._client.run(worker.hello, on_error="ignore")))

    def give(self, asked: messages.Give) -> None:
        """A worker that is gone says nothing."""
        try:
            said = self._client.run(worker.take, asked.content, workers=[asked.worker])
        except Exception:  # noqa: BLE001 - whatever Dask raises for a worker that has just died
            said = {}
        self.say(messages.Gave(worker=asked.worker, content=said.get(asked.worker, b"")))

    def submit(self, asked: messages.Submit) -> None:
        """The answer comes by itself."""
        future = self._client.submit(
            worker.work, asked.content, pure=False, key=f"casemate-{os.getpid()}-{asked.number}"
        )
        self._futures[asked.number] = future
        future.add_done_callback(lambda done: self._answered(asked.number, done))

    def _answered(self, number: int, future: Any) -> None:
        if self._futures.pop(number, None) is None:  # given up meanwhile
            return
        if future.status == "finished":
            self.say(messages.Answered(number=number, content=bytes(future.result())))
        elif future.status == "error":
            fault = type(future.exception()).__name__
            self.lose(
                f"a task took {DEATHS} workers with it"
                if fault == "KilledWorker"
                else f"a worker could not run a task ({fault})"
            )
        else:
            self.lose("the scheduler is gone")

    def forget(self, asked: messages.Forget) -> None:
        """Give up what is under way; whichever worker is gone has forgotten."""
        given_up, self._futures = self._futures, {}
        self._client.cancel([*given_up.values()], force=True)
        self._client.run(worker.forget, asked.job, on_error="ignore")

    def watch(self) -> None:
        """Tell when the scheduler or the last worker is gone."""
        since = None
        while not self._lost:
            time.sleep(LOOK)
            if self._client.status != "running":
                self.lose("the scheduler is gone")
                return
            there = self._client.scheduler_info()["workers"]
            since = None if there else (since or time.monotonic())
            if since is not None and time.monotonic() - since > self._seconds:
                self.lose(f"no worker was there for {self._seconds:g} s")


def main() -> int:
    """Until standard input ends."""
    confine.die_with_parent()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no message
    heard = messages.read(sys.stdin.buffer, messages.Asked)
    first = next(heard, None)
    if not isinstance(first, messages.Connect):
        return 1
    try:
        client = _client(first)
    except Exception as error:  # noqa: BLE001 - whatever Dask, TLS or a name server has to say
        messages.write(out, messages.Lost(why=f"{type(error).__name__}: {error}"[:500]))
        return 1
    connector = Connector(client, out, first.seconds)
    threading.Thread(target=connector.watch, daemon=True).start()
    for asked in heard:
        if isinstance(asked, messages.Greet):
            connector.greet()
        elif isinstance(asked, messages.Give):
            connector.give(asked)
        elif isinstance(asked, messages.Submit):
            connector.submit(asked)
        elif isinstance(asked, messages.Forget):
            connector.forget(asked)
    os._exit(0)  # the client's goodbye waits for a scheduler that may be gone


def _client(asked: messages.Connect) -> Any:
    from distributed import Client, Security

    places = [*interpreter_paths(), *SYSTEM_PATHS, *NAMES, *asked.read, asked.folder, "/proc"]
    confine.landlock(places, ["/dev/null"], network=True)
    confine.drop_capabilities()
    security = Security(
        require_encryption=True,
        tls_min_version=ssl.TLSVersion.TLSv1_3,
        tls_ca_file=f"{asked.folder}/ca.pem",
        tls_client_cert=f"{asked.folder}/cert.pem",
        tls_client_key=f"{asked.folder}/key.pem",
    )
    client = Client(
        asked.scheduler,
        security=security,
        timeout=asked.seconds,
        deserializers=["msgpack", "dask"],
        set_as_default=False,
    )
    client.wait_for_workers(1, timeout=asked.seconds)
    return client


if __name__ == "__main__":
    sys.exit(main())
