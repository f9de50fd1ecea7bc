"""One process of a gateway: what it is given to work with, and what it says of its start."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from casemate.core.errors import BackendError, Error
from casemate.serve.heartbeat import Board, Heartbeat
from casemate.wiring import Wiring

FOLDER = "gateway"
"""In the project's state: where workers leave their counts."""
Announce = Callable[[str, list[str]], None]


@dataclass(frozen=True)
class Place:
    """What a worker is given to work with."""

    heartbeat: Heartbeat
    board: Board
    listener: socket.socket
    grpc_port: int | None
    after: str
    """Why its predecessor is not there any more; empty for the first."""


Work = Callable[[Wiring, Place, Announce], None]


class Ended(msgspec.Struct):
    """What a worker says that could not start."""

    code: str
    message: str
    hint: str


class Started(msgspec.Struct):
    """What a worker says that answers."""

    url: str
    references: list[str]


class Said(msgspec.Struct):
    """What a worker says once: that it answers, or why it ended."""

    started: Started | None = None
    ended: Ended | None = None


@dataclass
class Worker:
    """One process, as the supervisor sees it."""

    pid: int
    heartbeat: Heartbeat
    pipe: int
    """On which it says that it answers; -1 once it has."""
    began: float = field(default_factory=time.monotonic)
    leaving: float = 0.0
    """`time.monotonic()` at which it is killed if it is still there; 0 while it should stay."""
    relieves: int = 0
    """Process id of a worker that goes once this one answers."""


def fault_of(said: Ended | None) -> Error:
    """A worker's fault, as if it had happened here."""
    if said is None:
        return BackendError(
            "a worker ended while it started",
            hint="its message stands above; `casemate doctor` looks for the rest",
        )
    kinds = [Error]
    for kind in kinds:
        kinds += kind.__subclasses__()
    made = next((kind for kind in kinds if kind.code == said.code), BackendError)
    error = made.__new__(made)
    Error.__init__(error, said.message, hint=said.hint)
    return error
