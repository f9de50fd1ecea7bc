"""How a run shows itself: a live line on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from casemate.core.steps import STAGES
from casemate.core.types import number_text


class Lines:
    """A `supply.context.Reporter` that writes one line a finished stage, and a live line where a
    person looks.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.live = sys.stderr.isatty() and not quiet
        self.began = time.monotonic()
        self.status: Any = None
        if self.live:
            from rich.console import Console

            self.status = Console(stderr=True).status("starting")
            self.status.start()

    def begin(self, run: Any) -> None:
        """See `supply.context.Reporter`."""
        if run.ended == "unchanged":
            self.say(
                f"nothing has changed since run {run.id}: its result stands (--fresh does"
                " everything again)"
            )
        elif run.ended:
            self.say(f"run {run.id} has this key already: {run.ended}")
        else:
            self.say(
                f"run {run.id}"
                + (" (resumed behind its last finished stage)" if run.resumed else "")
            )
        if run.kept:
            origins = {
                origin: [name for name in run.kept if run.kept[name][0] == origin]
                for origin, _ in run.kept.values()
            }
            told = "; ".join(
                f"{', '.join(names)} from run {origin}" for origin, names in origins.items()
            )
            self.say(f"unchanged, so reused: {told} (--fresh does everything again)")

    def progress(self, text: str, done: int, total: int) -> None:
        """See `supply.context.Reporter`."""
        if self.live:
            from rich.markup import escape

            self.status.update(escape(text) + (f" {done}/{total}" if total else ""))

    def stage(self, name: str, record: Any) -> None:
        """See `supply.context.Reporter`."""
        elapsed = time.monotonic() - self.began
        self.say(f"{STAGES.index(name) + 1} {name:<8} {_summary(name, record)}  [{elapsed:.1f} s]")

    def say(self, text: str) -> None:
        """Write one line, at once."""
        if self.quiet:
            return
        if self.live:
            self.status.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Stop the live line."""
        if self.live:
            self.status.stop()


def watching() -> Lines | None:
    """Lines for whoever works in a notebook, where a long silence looks like a fault; None
    elsewhere.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return Lines() if getattr(shell, "kernel", None) is not None else None


@contextlib.contextmanager
def counting() -> Iterator[Callable[[str, int, int], None]]:
    """A callback (text, done, total) that shows itself on a terminal while the block lasts."""
    lines = Lines(quiet=not sys.stderr.isatty())
    try:
        yield lines.progress
    finally:
        lines.close()


def _summary(name: str, record: Any) -> str:
    if name == "data":
        suspects = (
            ", ".join(f"{count} {reason}" for reason, count in record.quarantined.items())
            or "no row"
        )
        return (
            f"sealed {record.name}@{record.version}: {record.rows} rows,"
            f" {len(record.schema.features)} features; under suspicion: {suspects}"
        )
    if name == "train":
        if not record.cv:
            spent = (
                f"epsilon {record.privacy['epsilon']:.3g} spent" if record.privacy else "taken over"
            )
            return f"{record.mode} model, {spent}; confined by {', '.join(record.isolation)}"
        best, count = max(candidate["mean"] for candidate in record.cv), len(record.cv)
        hardened = "hardened; " if record.mode == "adversarial" else ""
        tried = f"{count} candidates" if count > 1 else "one candidate"
        beyond = record.went_on
        further = f"; went on with {beyond.rows} rows beside the sample" if beyond else ""
        return (
            f"{hardened}{record.metric} {number_text(best)} in cross-validation of"
            f" {tried}{further}; confined by {', '.join(record.isolation)}"
        )
    if name == "assess":
        name = "r2" if "r2" in record.metrics else "roc_auc"
        figure = record.metrics.get(name)
        text = (
            f"{name} {number_text(figure.value)}"
            f" ({number_text(figure.low)}–{number_text(figure.high)}) on {record.rows} held-out"
            " rows"
            if figure
            else "not measured"
        )
        return text + f"; serves {record.serve_format}"
    return f"{record.verdict.outcome}: {record.model}@{record.model_version}" + (
        " signed" if record.bundle else " kept unsigned"
    )
