"""Running a scanner of other people."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from casemate.core.text import clean
from casemate.supply.scanners import confined
from casemate.supply.scanners.interface import CouldNotLook, Place

MOST_OUTPUT = 128 * 2**20
"""Bytes of a report that are read."""
T = TypeVar("T")


@dataclass(frozen=True)
class Ran:
    """How a program ended."""

    code: int
    output: bytes
    errors: str
    """The end of what it said on standard error, fit to be shown."""
    told: Path
    """All that it said there."""
    folder: Path
    """The only one that it could write to."""

    def file(self, name: str) -> bytes:
        """A report that it was to write there; CouldNotLook: it is not there, or too large."""
        path = self.folder / name
        if path.is_symlink() or not path.is_file():
            raise CouldNotLook(f"{name} was not written: {self.errors[-200:]}")
        if path.stat().st_size > MOST_OUTPUT:
            raise CouldNotLook(f"{name} has more than {MOST_OUTPUT} bytes")
        return path.read_bytes()

    def said(self) -> str:
        """All of it, as far as it is read."""
        with self.told.open("rb") as file:
            return file.read(MOST_OUTPUT).decode(errors="replace")


def find(place: Place, name: str, *, ours: bool = True) -> Path:
    """Where a scanner's program lies: in `[scan] tools` if that is set, else beside this Python or
    on `PATH`.

    Args:
        place: what is looked at.
        name: of the program.
        ours: whether `[scan] tools` is about it; git is no scanner.

    Raises:
        CouldNotLook: nowhere.
    """
    if place.tools is not None and ours:
        path, where = place.tools / name, f" in {place.tools}"
        found = str(path) if os.access(path, os.X_OK) and path.is_file() else None
    else:
        beside, where = str(Path(sys.executable).parent), ""
        found = shutil.which(name, path=beside) or shutil.which(name)
    if found is None:
        apart = " in an environment of its own and name its bin folder: [scan] tools"
        raise CouldNotLook(f"there is no {name}{where}", hint=f"install it{apart if ours else ''}")
    return Path(found).absolute()


def run(
    place: Place,
    name: str,
    words: Sequence[str],
    *,
    cwd: Path | None = None,
    own_folder: bool = False,
    stdin: Path | None = None,
    ours: bool = True,
    program: Path | None = None,
    port: int = 0,
) -> Ran:
    """Run a scanner to its end, confined.

    Args:
        place: what is looked at.
        name: of the program.
        words: of its command line; no secret.
        cwd: where; default: the project's folder.
        own_folder: in the folder that it may write to.
        stdin: a file that it reads.
        ours: see `find`.
        program: where it lies, if that is known.
        port: of this machine, to which alone it may connect; 0: it has no network.

    Raises:
        CouldNotLook: it is absent, took too long, was ended, or could not be confined.
    """
    program = program or find(place, name, ours=ours)
    work = place.folder(name)
    out, err = work / "stdout", work / "stderr"
    command = [
        *(sys.executable, "-P", "-m", confined.__name__),
        *(str(int(place.seconds)), str(work), str(port), str(program), *words),
    ]
    with (
        out.open("wb") as output,
        err.open("wb") as errors,
        (stdin or Path(os.devnull)).open("rb") as given,
    ):
        process = subprocess.Popen(
            command,
            stdin=given,
            stdout=output,
            stderr=errors,
            cwd=work if own_folder else cwd or place.root,
            env=_environment(work),
            start_new_session=True,
        )
        try:
            code = process.wait(place.seconds)
        except subprocess.TimeoutExpired:
            raise CouldNotLook(
                f"{name} did not end within {place.seconds:g} s", hint="[scan] seconds"
            ) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    with err.open("rb") as file:
        file.seek(max(0, err.stat().st_size - 2000))
        said = clean(file.read().decode(errors="replace").strip(), 500)
    if code == confined.OPEN:
        raise CouldNotLook(f"{name} was not run: {said}", hint="casemate doctor")
    if code < 0:
        raise CouldNotLook(f"{name} was ended by signal {-code}: {said[-200:]}")
    if out.stat().st_size > MOST_OUTPUT:
        raise CouldNotLook(f"{name} printed more than {MOST_OUTPUT} bytes")
    return Ran(code, out.read_bytes(), said, err, work)


def parsed(name: str, content: bytes, kind: type[T]) -> T:
    """What a scanner printed as JSON, as it is documented.

    Raises:
        CouldNotLook: it is something else.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise CouldNotLook(
            f"{name} printed something else than it documents: {error}",
            hint="use the version that the how-to names",
        ) from error


def _environment(work: Path) -> dict[str, str]:
    """What a scanner gets of ours: nothing that could have it load, send or ask something."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(work),
        "TMPDIR": str(work),
        "XDG_CACHE_HOME": str(work),
        "XDG_CONFIG_HOME": str(work),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        # a repository's configuration may allow a protocol that runs a program; this goes before
        "GIT_ALLOW_PROTOCOL": "",
        "GIT_GRAFT_FILE": os.devnull,
        "DO_NOT_TRACK": "1",
        "SEMGREP_SEND_METRICS": "off",
        "SEMGREP_ENABLE_VERSION_CHECK": "0",
    }
