"""Nothing leaves by itself: what dependencies would write or send unasked, and what stops each of them.

`import casemate` applies the switches, before any dependency is imported; processes that it starts inherit them, and the
sandbox's clean environment is built with them (`environment`). What stands in `HABITS` was seen, not read: each package of the
locks was imported and used in a network namespace that records (`tests/silence`), where a package that is new or has changed
its mind turns a test red.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import NamedTuple


class Habit(NamedTuple):
    """What one package does unless it is told not to."""

    package: str
    """As it is imported; empty for whatever honours a common switch."""
    does: str
    """Unasked."""
    switch: dict[str, str]
    """Environment variables that stop it; empty where `kept` says why none is set."""
    kept: str = ""
    """Why it is left on, or confined to a folder instead of switched off."""


HABITS = (
    Habit(
        "onnxruntime",
        "writes a device id and an event store below ~/.cache/Microsoft when it is imported; from about ten seconds later it looks up"
        " and posts to mobile.events.data.microsoft.com",
        # Read once, at import: disable_telemetry_events() comes too late. DO_NOT_TRACK is ignored; CI=true stops it as well.
        {"ORT_DISABLE_TELEMETRY": "1"},
    ),
    Habit(
        "mlflow",
        "leaves an installation id below ~/.config/mlflow when it is imported, fetches a configuration and posts what is called",
        {"MLFLOW_DISABLE_TELEMETRY": "true"},
    ),
    Habit("", "what else sends telemetry may honour this", {"DO_NOT_TRACK": "1"}),
    Habit(
        "matplotlib",
        "makes ~/.config/matplotlib and ~/.cache/matplotlib, and runs fc-list, which writes fontconfig's caches",
        {},
        kept="draws with its own fonts; its one cache lies in casemate's",
    ),
    Habit(
        "boto3",
        "asks the metadata service of the machine for credentials",
        {},
        kept="only where [store] or [keys] names AWS and no access key: that is the login which was chosen",
    ),
)
"""Every package of the locks that would write or send something by itself."""


def environment() -> dict[str, str]:
    """The variables that keep dependencies silent, for a process of ours that starts from a clean environment."""
    return {name: value for habit in HABITS for name, value in habit.switch.items()}


def _already_on(environ: MutableMapping[str, str]) -> frozenset[str]:
    """Packages that were imported while their switch was not set."""
    return frozenset(
        habit.package for habit in HABITS if habit.package in sys.modules and any(environ.get(name) != value for name, value in habit.switch.items())
    )


def cache_folder(name: str) -> Path:
    """The folder of the declared cache for one package: `~/.cache/casemate/NAME`. It may be deleted at any time."""
    return Path("~/.cache/casemate").expanduser() / name


@contextlib.contextmanager
def without_font_search() -> Iterator[None]:
    """Import matplotlib inside: it looks for no fonts of the system and keeps its cache in ours.

    The variables are put back, for a notebook that draws pictures of its own has a matplotlib that was configured by its user.
    """
    folder = cache_folder("matplotlib")
    with contextlib.suppress(OSError):  # without a writable home matplotlib uses a temporary folder, which it removes
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ours = {"MPLCONFIGDIR": str(folder), "FONTCONFIG_FILE": str(Path(__file__).with_name("no-fonts.conf"))}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


TOO_LATE = _already_on(os.environ)
"""Packages that somebody imported before casemate: whatever they send, they may have sent."""
os.environ.update(environment())
