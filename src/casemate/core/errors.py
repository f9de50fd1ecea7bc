"""Every fault that casemate can raise, grouped by who must act.

A verdict or a finding is a value, never an exception. Faults are caught in two places only: the
command line's `main` and the HTTP edge. Each class fixes the exit code and the HTTP status once.

>>> from casemate.core.errors import ConfigError
>>> error = ConfigError("[data] has no 'target'", hint="add target = \"COLUMN\"")
>>> error.code, error.exit_code
('CM-CONFIG', 2)
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from casemate.core.text import clean

if TYPE_CHECKING:
    from casemate.core.types import Finding


class Error(Exception):
    """What happened (the message), who must act (the class) and what to do (the hint)."""

    code: ClassVar[str] = "CM-ERROR"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    who: ClassVar[str] = "casemate's maintainers"

    def __init__(self, message: str, *, hint: str = "", findings: Sequence["Finding"] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.findings = list(findings)
        """What was found out before it went wrong; recorded with the fault."""

    @property
    def sentence(self) -> str:
        """In one line: what happened, and what to do where that is known."""
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def diagnostics(self) -> str:
        """The text for a person: one line for the fault, one for the remedy."""
        lines = [f"error[{self.code}]: {self.message}"]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return clean("\n".join(lines), lines=True)  # it may quote foreign files


class ConfigError(Error):
    """The project's configuration or a command's arguments are wrong."""

    code = "CM-CONFIG"
    exit_code = 2
    http_status = 500
    who = "the project's owner: edit casemate.toml or the command"


class DataError(Error):
    """The table cannot be read, breaks its pinned schema or is refused by a screen."""

    code = "CM-DATA"
    exit_code = 1
    http_status = 400
    who = "the data's steward"


class TrainingError(Error):
    """The training code failed, returned the wrong thing, or hit its time or memory limit."""

    code = "CM-TRAIN"
    exit_code = 1
    who = "the author of the training code"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        findings: Sequence["Finding"] = (),
        plain: str = "the training code failed",
    ) -> None:
        """Message, hint and findings may quote the data that the code saw; `plain` may be told to
        everybody.
        """
        super().__init__(message, hint=hint, findings=findings)
        self.plain = plain
        self.words: tuple[str, str] | None = None
        """Message and hint for whoever may hear them, where this error is the plain one."""

    def opened(self) -> None:
        """Say it in full, to somebody who may hear it."""
        if self.words is not None:
            self.message, self.hint = self.words
            self.args = (self.message,)


class ImportRefused(TrainingError):
    """A model that was trained elsewhere is no model of this table, or cannot be made one."""

    code = "CM-IMPORT"
    exit_code = 1
    who = "whoever exported the model"


class RefusedError(Error):
    """Something asked for a model that the gates refused or that was never released."""

    code = "CM-REFUSED"
    exit_code = 1
    http_status = 404
    who = "the model's owner"


class AccessDenied(Error):
    """The policy does not permit this principal this action on this resource."""

    code = "CM-DENIED"
    exit_code = 3
    http_status = 403
    who = "the project's owner, who grants roles"


class VerificationError(Error):
    """A signature, digest or manifest does not hold: changed, removed, swapped or unsigned."""

    code = "CM-VERIFY"
    exit_code = 4
    http_status = 503
    who = "the security officer: treat it as tampering until explained"


class HistoryError(VerificationError):
    """Somebody outside, or what was published before, remembers another history of the log."""

    code = "CM-HISTORY"


class UnexplainedRow(VerificationError):
    """A row of the catalogue gives or takes rights, and the audit log does not explain it: somebody
    else than casemate wrote it.
    """

    code = "CM-ROWS"


class CompromisedSigner(VerificationError):
    """The signature holds, but its keys were in other hands since a time that it is not proven to
    be older than.
    """

    code = "CM-COMPROMISED"


class WrongSigner(VerificationError):
    """The artifact was signed with other keys than the ones it is checked with."""

    code = "CM-SIGNER"


class BackendError(Error):
    """A key store, disk, kernel feature or server that casemate needs is not available."""

    code = "CM-BACKEND"
    exit_code = 5
    http_status = 503
    who = "whoever runs this machine"


class TransientError(BackendError):
    """A back end was away for a moment, or two runs wanted the same thing: the same step may be
    tried again.
    """

    code = "CM-RETRY"


class BusyError(BackendError):
    """Another living process works on the same run."""

    code = "CM-BUSY"
    who = "wait for the other process, or stop it"


class LeaseLost(BackendError):
    """This process was away for longer than its lease; another one owns the run now, and nothing of
    this one counts.
    """

    code = "CM-LEASE"
    who = "nobody: the other process goes on"


class RunCancelled(Error):
    """Somebody cancelled the run."""

    code = "CM-CANCELLED"
    exit_code = 1
    who = "whoever cancelled it; the log says who"


class Interrupted(Error):
    """Somebody stopped the command from the keyboard."""

    code = "CM-INTERRUPTED"
    exit_code = 130
    who = "nobody: give the same command again"


class StageTimeout(Error):
    """A stage took longer than `[run] timeouts` allows."""

    code = "CM-TIMEOUT"
    exit_code = 1
    who = "the project's owner: raise the limit or shrink the work"


class OutOfMemory(Error):
    """A run's process would use, or used, more memory than `[run] memory_gb` allows."""

    code = "CM-MEMORY"
    exit_code = 1
    who = "the project's owner: learn from a sample, or raise the limit"


class SandboxError(BackendError):
    """This kernel cannot confine the training code and `[sandbox] mode` is "require"."""

    code = "CM-SANDBOX"


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with a row of a request: no value of it, and no limit, because limits are
    learnt from people.
    """

    row: int
    """Its number in the request, from 0."""
    input: str
    """Name of the feature; empty: the whole row."""
    why: str
    """In words that follow the name."""


class RequestError(Error):
    """A request to the gateway is malformed, too large or does not fit the model's inputs."""

    code = "CM-REQUEST"
    exit_code = 2
    http_status = 400
    who = "the caller"

    def __init__(self, message: str, *, hint: str = "", rows: Sequence[Wrong] = ()) -> None:
        super().__init__(message, hint=hint)
        self.rows = list(rows)
        """Which rows of the request are meant, where it is not all of them."""


FULL = {errno.ENOSPC, errno.EDQUOT}


def from_os_error(error: OSError) -> Error:
    """Turn an operating-system fault that reached the edge into one that says who must act."""
    name = error.filename2 or error.filename  # of a draft and what it was to replace, the latter
    where = f": {name}" if name else ""
    if error.errno in FULL:
        return BackendError(
            f"the disk is full{where}",
            hint="free some space and run the same command again; it resumes by itself",
        )
    if isinstance(error, PermissionError):
        return BackendError(
            f"this user may not read or write{where}",
            hint="run as the project's owner or correct the permissions",
        )
    if isinstance(error, FileNotFoundError):
        return ConfigError(f"no such file or folder{where}", hint="check the path")
    if isinstance(error, IsADirectoryError):
        return ConfigError(f"this is a folder{where}", hint="name a file")
    return BackendError(
        f"the operating system refused: {error.strerror or error}{where}", hint="see the system log"
    )
