"""Nothing leaves by itself: what dependencies would write or send unasked, and what stops each of them.

`import casemate` applies the switches, before any dependency is imported; processes that it starts inherit them, and the
sandbox's clean environment is built with them (`environment`). What stands in `HABITS` was seen, not read: each package of the
locks was imported and used in a network namespace that records (`tests/silence`), where a package that is new or has changed
its mind turns a test red.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Habit(NamedTuple):
    """What one package does unless it is told not to."""

    package: str
    """As it is imported; empty for whatever honours a common switch."""
    would: str
    """What it does unasked, as it follows on "would"."""
    switch: dict[str, str]
    """Environment variables that stop it; empty where `kept` says why none is set."""
    kept: str = ""
    """Why it is confined or left on instead of switched off."""


HABITS = (
    Habit(
        "onnxruntime",
        "write a device id and an event store below ~/.cache/Microsoft at import, and post to mobile.events.data.microsoft.com",
        # Read once, at import: `disable_telemetry_events()` changes nothing afterwards, DO_NOT_TRACK is ignored, CI=true is not.
        {"ORT_DISABLE_TELEMETRY": "1"},
    ),
    Habit(
        "mlflow",
        "write an installation id below ~/.config/mlflow at import, fetch a configuration, and post which of its functions are called",
        {"MLFLOW_DISABLE_TELEMETRY": "true"},
    ),
    Habit("", "perhaps send telemetry: what comes later may honour the common switch", {"DO_NOT_TRACK": "1"}),
    Habit(
        "matplotlib",
        "make folders below ~/.config and ~/.cache, and run fc-list, which writes fontconfig's caches",
        {},
        kept="casemate draws without fonts of the system and keeps the one cache in ~/.cache/casemate",
    ),
    Habit(
        "boto3",
        "ask the machine's metadata service for credentials",
        {},
        kept="it does so only where [store] or [keys] names AWS and no access key: then that is the login you chose",
    ),
)
"""Every package of the locks that would write or send something by itself."""


def environment() -> dict[str, str]:
    """The variables that keep dependencies silent, for a process of ours that starts from a clean environment."""
    return {name: value for habit in HABITS for name, value in habit.switch.items()}


def is_off(habit: Habit) -> bool:
    """Whether the switch is in force in this process, and was so when the package was imported."""
    return habit.package not in TOO_LATE and _switched(habit)


def _switched(habit: Habit) -> bool:
    return all(os.environ.get(name) == value for name, value in habit.switch.items())


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


TOO_LATE = frozenset(habit.package for habit in HABITS if habit.package in sys.modules and not _switched(habit))
"""Packages that somebody imported before casemate: what they would do, they may have done."""
os.environ.update(environment())
