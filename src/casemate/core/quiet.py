"""Nothing leaves by itself: what dependencies would write or send unasked, and what stops them.

`import casemate` applies the switches, before any dependency is imported; processes that it starts
inherit them, and the sandbox's clean environment is built with them (`environment`). What stands in
`SIDE_EFFECTS` was seen, not read: every package of the locks was imported in a network namespace
that records (`tests/silence`), where one that is new or has changed turns a test red.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import NamedTuple


class SideEffect(NamedTuple):
    """What one package does unless it is told not to."""

    package: str
    """As it is imported; empty for whatever honours a common switch."""
    does: str
    """What it does unasked, as it follows on "would"."""
    switch: dict[str, str]
    """Environment variables that stop it; empty where `reason` says why none is set."""
    reason: str = ""
    """Why it is confined or left on instead of switched off."""


SIDE_EFFECTS = (
    SideEffect(
        "onnxruntime",
        "write a device id and an event store below ~/.cache/Microsoft at import, and post to"
        " mobile.events.data.microsoft.com",
        # Read once, at import. `disable_telemetry_events()` comes too late, DO_NOT_TRACK is
        # ignored, and CI=true does the same as this: silence in CI proves nothing.
        {"ORT_DISABLE_TELEMETRY": "1"},
    ),
    SideEffect(
        "mlflow",
        "write an installation id below ~/.config/mlflow at import, and ask"
        " config.mlflow-telemetry.io what to post when it is used",
        {"MLFLOW_DISABLE_TELEMETRY": "true"},
    ),
    SideEffect(
        "",
        "perhaps send telemetry: what comes later may honour the common switch",
        {"DO_NOT_TRACK": "1"},
    ),
    SideEffect(
        "matplotlib",
        "make folders below ~/.config and ~/.cache, and run fc-list, which writes fontconfig's"
        " caches",
        {},
        reason=(
            "casemate draws without fonts of the system and keeps the one cache in"
            " ~/.cache/casemate"
        ),
    ),
    SideEffect(
        "art",
        "make ~/.art with a configuration file and a data folder at import, or /tmp/.art where the"
        " home folder cannot be written",
        {},
        reason=(
            "casemate imports it in the sandbox only, with a temporary home folder that is gone"
            " when the import is done"
        ),
    ),
    SideEffect(
        "boto3",
        "ask the machine's metadata service for credentials",
        {},
        reason=(
            "it does so only where [store], [keys] or [data] names AWS and there is no access key:"
            " then that is the login you chose"
        ),
    ),
)
"""Every package of the locks that would write or send something by itself."""


def environment() -> dict[str, str]:
    """The variables that keep dependencies silent, for a process with a clean environment."""
    return {name: value for effect in SIDE_EFFECTS for name, value in effect.switch.items()}


def is_off(effect: SideEffect) -> bool:
    """Whether the switch is in force in this process, and was so when the package was imported."""
    return effect.package not in IMPORTED_BEFORE and _switched(effect)


def _switched(effect: SideEffect) -> bool:
    return all(os.environ.get(name) == value for name, value in effect.switch.items())


def cache_folder(name: str) -> str:
    """The folder of the declared cache for one package: `~/.cache/casemate/NAME`. It may be deleted
    at any time.
    """
    # to import pathlib takes a tenth of `--help`
    return os.path.join(os.path.expanduser("~/.cache/casemate"), name)


@contextlib.contextmanager
def without_font_search() -> Iterator[None]:
    """Import matplotlib inside: it looks for no fonts of the system and keeps its cache in ours.

    The variables are put back: fontconfig is asked by others too. Whoever wants a matplotlibrc of
    their own to count in the same process imports matplotlib before casemate draws.
    """
    folder = cache_folder("matplotlib")
    no_fonts = os.path.join(os.path.dirname(__file__), "no-fonts.conf")
    # Without a writable home matplotlib takes a temporary folder, says so, and removes it.
    with contextlib.suppress(OSError):
        os.makedirs(folder, mode=0o700, exist_ok=True)
    with _variables({"MPLCONFIGDIR": folder, "FONTCONFIG_FILE": no_fonts}):
        yield


@contextlib.contextmanager
def temporary_home() -> Iterator[None]:
    """Import a library inside that writes into the home folder and cannot be told not to."""
    import tempfile  # as dear as pathlib

    with tempfile.TemporaryDirectory() as folder, _variables({"HOME": folder}):
        yield


@contextlib.contextmanager
def _variables(ours: dict[str, str]) -> Iterator[None]:
    """Variables of the environment for a while; they are put back."""
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


IMPORTED_BEFORE = frozenset(
    effect.package
    for effect in SIDE_EFFECTS
    if effect.package in sys.modules and not _switched(effect)
)
"""Packages that somebody imported before casemate: what they would do, they may have done."""
os.environ.update(environment())
