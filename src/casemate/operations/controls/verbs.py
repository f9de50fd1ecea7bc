"""`casemate controls`: what frameworks ask for, whether it holds now, and when it last did."""

from typing import Any

from casemate.core.errors import ConfigError, VerificationError
from casemate.core.types import Record
from casemate.operations.acting import Acting, operation, reading
from casemate.operations.controls import catalogue
from casemate.operations.controls.catalogue import Control
from casemate.operations.controls.checks import CHECKS
from casemate.operations.controls.facts import Facts
from casemate.operations.controls.history import Past, folded
from casemate.operations.controls.kinds import Fact
from casemate.stages.release.pack import CHECKED
from casemate.wiring import Wiring

UNASKED = "keys.passphrase"
"""An option that no check looks at: how keys are opened where checks run."""


class Todo(Record, frozen=True, kw_only=True):
    """What mends one check."""

    check: str
    answers: str
    """The role that answers for it."""
    mend: str


class Checked(Record, frozen=True, kw_only=True):
    """What checks came to."""

    facts: list[Fact]
    entry: int | None
    """The log's entry with the results; None: it could not be written, because the log itself does
    not hold.
    """

    @property
    def failed(self) -> list[Fact]:
        """Those that did not hold."""
        return [one for one in self.facts if one.outcome == "failed"]

    @property
    def todo(self) -> list[Todo]:
        """What mends those that did not hold, or of which it is not known."""
        return [
            Todo(check=one.check, answers=CHECKS[one.check].answers, mend=CHECKS[one.check].mend)
            for one in self.facts
            if one.outcome in ("failed", "inconclusive")
        ]


class ListedControl(Record, frozen=True, kw_only=True):
    """A control, and what is known of its checks."""

    framework: str
    """Id of the framework."""
    control: Control
    answers: list[str]
    """Everybody who answers for some of it."""
    past: dict[str, Past | None]
    """Per check; None: it was never done."""


class ShownCheck(Record, frozen=True, kw_only=True):
    """One check with all that is known of it."""

    id: str
    title: str
    answers: str
    mend: str
    """What to do where it does not hold."""
    past: Past | None
    controls: list[str]
    """Controls that it is evidence for, as `FRAMEWORK SECTION`."""


def done(acting: Acting, names: list[str]) -> Checked:
    """Look, and record what came of it; whoever acts was let."""
    said = sorted(set(acting.project.overridden) - {UNASKED})
    if said:
        raise ConfigError(
            f"-s sets {', '.join(said)}: results are of what casemate.toml says",
            hint="leave -s out, or change casemate.toml",
        )
    facts = Facts(acting.project)
    found = [CHECKS[name](facts) for name in names]
    results = {one.check: [one.outcome, one.digest] for one in found}
    asked = {one.id: one.told for one in catalogue.listed()}
    detail: dict[str, Any] = {
        "catalogue": catalogue.digest(),
        "frameworks": asked,
        "results": results,
    }
    about = f'Project::"{acting.project.config.project.id}"'
    try:
        entry = acting.project.log.record(acting.uid, CHECKED, about, "done", **detail)
    except VerificationError:
        return Checked(facts=found, entry=None)  # which `log.verifies` says
    return Checked(facts=found, entry=entry)


@operation("controls:check")
def check(project: Wiring, only: list[str] | None = None) -> Checked:
    """Look at the facts behind controls now, and record what came of it.

    Args:
        project: whose.
        only: ids of checks, and of frameworks whose checks are meant; default: every check.

    Raises:
        AccessDenied: policy. ConfigError: there is no such check or framework.
    """
    names = _meant(only or [])
    return done(check.ask(project, unrecorded=True), names)


def _meant(only: list[str]) -> list[str]:
    if not only:
        return list(CHECKS)
    known = {one.id: one for one in catalogue.frameworks()}
    wanted: set[str] = set()
    for name in only:
        if name in known:
            wanted |= {one for control in known[name].controls for one in control.checks}
        elif name in CHECKS:
            wanted.add(name)
        else:
            raise ConfigError(
                f"there is no check or framework {name[:80]!r}", hint="casemate controls list"
            )
    return [name for name in CHECKS if name in wanted]


@reading("controls:read")
def listing(project: Wiring, framework: str = "") -> list[ListedControl]:
    """Every control with what the log says of its checks, once it was verified.

    Args:
        project: whose.
        framework: only of this one.

    Raises:
        AccessDenied: policy. ConfigError: there is no such framework. VerificationError: the log
            does not hold.
    """
    if framework and framework not in catalogue.FRAMEWORKS:
        raise ConfigError(
            f"there is no framework {framework[:80]!r}",
            hint=f"one of {', '.join(catalogue.FRAMEWORKS)}",
        )
    past = _past(project)
    return [
        ListedControl(
            framework=one.id,
            control=control,
            answers=control.owners,
            past={name: past.get(name) for name in control.checks},
        )
        for one, control in catalogue.controls()
        if framework in ("", one.id)
    ]


@reading("controls:read")
def show(project: Wiring, name: str) -> ShownCheck:
    """One check, and what the log says of it, once it was verified.

    Raises:
        AccessDenied: policy. ConfigError: there is no such check. VerificationError: the log does
            not hold.
    """
    if name not in CHECKS:
        raise ConfigError(f"there is no check {name[:80]!r}", hint="casemate controls list")
    one = CHECKS[name]
    return ShownCheck(
        id=one.id,
        title=one.title,
        answers=one.answers,
        mend=one.mend,
        past=_past(project).get(name),
        controls=[
            framework.named(control)
            for framework, control in catalogue.controls()
            if name in control.checks
        ],
    )


def _past(project: Wiring) -> dict[str, Past]:
    size = project.log.check().checkpoint.size
    return folded(one for one in project.log.plain_entries() if one.index < size)
