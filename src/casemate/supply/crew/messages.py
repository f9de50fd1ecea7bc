"""What is said between a run, its connector and the workers: msgpack, bounded, with a version."""

import struct
from collections.abc import Iterator
from typing import IO, Any

import msgspec

from casemate.core.types import Finding

VERSION = 1
MOST = 2**31
"""Bytes of one message: a job's rows, sealed."""
_LENGTH = struct.Struct(">I")


class _Message(msgspec.Struct, kw_only=True, tag=True, forbid_unknown_fields=True):
    """Tagged by the name of its class."""


class Bounds(_Message):
    """What the key of a job is good for; signed along with everything that is sealed under it."""

    job: str
    columns: list[str]
    until: float
    """Seconds since 1970; later the worker opens nothing, and forgets what it opened."""
    version: int = VERSION

    @property
    def raw(self) -> bytes:
        """The same bytes on both sides."""
        return msgspec.msgpack.encode(self)


class Given(_Message):
    """A job as its tasks get it, in the seal."""

    target: str
    threads: int
    job: dict[str, Any]
    tables: list[bytes]
    """As Arrow streams."""
    inputs: dict[str, bytes]
    seconds: float
    memory_bytes: int
    required: bool


class Hello(_Message):
    """A worker's introduction."""

    public: bytes
    """HPKE key of this process, made when it started."""
    versions: dict[str, str]
    """Of Python and of what computes."""


class Take(_Message):
    """A sealed job for one worker."""

    bounds: Bounds
    key: bytes
    """The job's key, sealed for this worker."""
    sealed: bytes


class Taken(_Message):
    """It could be opened."""


class Work(_Message):
    """Tasks of a job, sealed under its key."""

    job: str
    number: int
    sealed: bytes


class Done(_Message):
    """Answers, sealed under the job's key."""

    sealed: bytes


class Answers(_Message):
    """In the seal."""

    answers: list[dict[str, Any]]
    findings: list[Finding]
    isolation: list[str]


class Unknown(_Message):
    """This worker was not given the job: it came later."""


class Failed(_Message):
    """The job's code failed; sealed, since its words may quote a row."""

    sealed: bytes


class Failure(_Message):
    """In the seal: a `JobFailed`."""

    kind: str
    message: str
    hint: str
    plain: str
    """Empty: the code's own words."""
    findings: list[Finding]


class Refused(_Message):
    """The worker cannot or may not do it."""

    why: str


Said = Hello | Taken | Done | Failed | Unknown | Refused
"""By a worker."""


# between the run and its connector


class Connect(_Message):
    """The first message: whom to reach, and with which certificate."""

    scheduler: str
    folder: str
    """With cert.pem, key.pem and ca.pem."""
    read: list[str]
    """What the connector may read from then on."""
    seconds: float
    """How long to wait for the scheduler, and for the first worker."""


class Greet(_Message):
    """Ask every worker for its introduction."""


class Give(_Message):
    """Give a worker a job."""

    worker: str
    content: bytes
    """A `Take`."""


class Submit(_Message):
    """Have tasks done, by whichever worker is free."""

    number: int
    content: bytes
    """A `Work`."""


class Forget(_Message):
    """Have every worker forget a job."""

    job: str


class Workers(_Message):
    """What `Greet` brought: address -> a `Hello`."""

    found: dict[str, bytes]


class Gave(_Message):
    """What a worker said to `Give`; nothing: it is gone."""

    worker: str
    content: bytes


class Answered(_Message):
    """What a worker said to `Submit`."""

    number: int
    content: bytes


class Lost(_Message):
    """There is nobody left to ask."""

    why: str


Asked = Connect | Greet | Give | Submit | Forget
Heard = Workers | Gave | Answered | Lost


def write(file: IO[bytes], message: msgspec.Struct) -> None:
    """Write one message.

    Raises:
        OSError: nobody reads.
    """
    content = msgspec.msgpack.encode(message)
    file.write(_LENGTH.pack(len(content)) + content)
    file.flush()


def read(file: IO[bytes], kind: Any) -> Iterator[Any]:
    """Messages until the other side ends; msgspec.DecodeError on what is none."""
    while True:
        head = file.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            return
        size = _LENGTH.unpack(head)[0]
        if size > MOST:
            raise msgspec.DecodeError(f"a message of {size} bytes")
        content = file.read(size)
        if len(content) < size:
            return
        yield msgspec.msgpack.decode(content, type=kind)
