"""Steps about models and what is kept of them."""

from collections.abc import Callable

from casemate.core.errors import RefusedError
from casemate.operations import holds, models
from casemate.operations.playbooks import asking
from casemate.operations.playbooks.asking import Answer, Unproven
from casemate.operations.playbooks.steps import Doing
from casemate.operations.retention import leftover
from casemate.operations.serving import live
from casemate.respond.holds import What
from casemate.respond.playbooks.runs import Aim
from casemate.stages.release.rollout import Released
from casemate.wiring import Wiring


def released(project: Wiring, reference: str) -> Released | None:
    """How a version is released; None: it is not."""
    return next((one for one in project.rollouts.all() if one.reference == reference), None)


class Rollback:
    """Back to the version before, and every gateway serves it."""

    def aim(self, project: Wiring, of: str, incident: int) -> Aim:
        """See `Doing`."""
        name = of.partition("@")[0]
        target = of if "@" in of else live(project, name)
        found = released(project, target)
        if found is not None:
            before = live(project, name) if found.part != "live" else found.former
            if before is None:
                raise RefusedError(
                    f"{target} is the first that was promoted: there is nothing to go back to",
                    hint="withdraw it, or promote another version",
                )
            return Aim(
                target=target,
                before=before if isinstance(before, str) else f"{name}@{before}",
                also=(found.part, str(found.share), *found.principals),
            )
        now = live(project, name)
        if now == target:
            raise RefusedError(
                f"{target} is served because nothing was promoted: there is nothing to go back to",
                hint="withdraw it, or promote another version",
            )
        return Aim(target=target, before=now)

    def says(self, aim: Aim) -> str:
        """See `Doing`."""
        return f"take {aim.target} back; {aim.before} serves"

    def is_done(self, project: Wiring, aim: Aim) -> bool:
        """See `Doing`."""
        return released(project, aim.target) is None

    def do(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        models.take_back(project, aim.target, why)

    def proof(self, project: Wiring, aim: Aim) -> str:
        """See `Doing`."""
        name, _, version = aim.target.partition("@")
        digest = project.registry.verify(aim.before).digest

        def holds_(answer: Answer) -> str:
            if answer.said is None:
                return f"it answers {answer.status} about {name}"
            if version in answer.said.versions:
                return f"it still serves {aim.target}"
            if answer.said.parameters.digest != digest:
                return f"it serves another digest than that of {aim.before}"
            return ""

        with asking.token(project, roles=("client",)) as bearer:
            for path in asking.paths_of(project, name):
                asking.agreed(project, path, bearer, holds_)
        shadow = "; gateways do not tell of shadows" if aim.also[:1] == ("shadow",) else ""
        return f"{asking.named(project)} serves {aim.before}, digest {digest[:16]}{shadow}"

    def undo(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        part, share, *principals = aim.also or ("live", "1.0")
        models.promote(
            project,
            aim.target,
            part="live" if part == "live" else "canary" if part == "canary" else "shadow",
            share=float(share),
            principals=principals,
            reason=why,
        )


class Held:
    """A hold of one kind, by which something is kept from happening."""

    def __init__(self, what: What) -> None:
        self.what = what

    def aim(self, project: Wiring, of: str, incident: int) -> Aim:
        """See `Doing`."""
        holds.require_known(project, self.what, of)
        return Aim(target=of)

    def says(self, aim: Aim) -> str:
        """See `Doing`."""
        return f"place a hold on {self.what} of {aim.target}"

    def is_done(self, project: Wiring, aim: Aim) -> bool:
        """See `Doing`."""
        return project.holds_kept.stands(self.what, aim.target)

    def do(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        holds.place(project, self.what, aim.target, why)

    def proof(self, project: Wiring, aim: Aim) -> str:
        """See `Doing`."""
        if not self.is_done(project, aim):
            raise Unproven(f"there is no hold on {self.what} of {aim.target}")
        return f"a hold on {self.what} of {aim.target} stands"

    def undo(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        holds.lift(project, self.what, aim.target, why)


class Withdrawn(Held):
    """No gateway lets it answer."""

    def proof(self, project: Wiring, aim: Aim) -> str:
        """See `Doing`."""
        super().proof(project, aim)
        version = aim.target.partition("@")[2]

        def holds_(answer: Answer) -> str:
            served = [] if answer.said is None else answer.said.versions
            if answer.is_withdrawn or (answer.said is not None and version not in ("", *served)):
                return ""
            return f"it answers {answer.status} about {aim.target}"

        _asked(project, aim, holds_)
        return f"{asking.named(project)} does not let {aim.target} answer"


class LabelOnly(Held):
    """Every gateway offers the label alone."""

    def proof(self, project: Wiring, aim: Aim) -> str:
        """See `Doing`."""
        super().proof(project, aim)
        version = aim.target.partition("@")[2]

        def holds_(answer: Answer) -> str:
            if answer.is_withdrawn:
                return ""
            if answer.said is None:
                return f"it answers {answer.status} about {aim.target}"
            if version and version not in answer.said.versions:
                return ""
            offered = [one.name for one in answer.said.outputs]
            return "" if offered == ["label"] else f"it offers {offered} of {aim.target}"

        _asked(project, aim, holds_)
        return f"{asking.named(project)} offers the label of {aim.target} alone"


def _asked(project: Wiring, aim: Aim, holds_: Callable[[Answer], str]) -> None:
    """Ask under each name, and of the version itself where it is served beside another one."""
    name, _, version = aim.target.partition("@")
    with asking.token(project, roles=("client",)) as bearer:
        for path in asking.paths_of(project, name):
            asking.agreed(project, path, bearer, holds_ if not version else _known)
            if version:
                asking.agreed(project, f"{path}/versions/{version}", bearer, _or_absent(holds_))


def _known(answer: Answer) -> str:
    """What is wrong with an answer about a model that is served, or withdrawn."""
    known = answer.said is not None or answer.is_withdrawn
    return "" if known else f"it answers {answer.status} where the model should be"


def _or_absent(holds_: Callable[[Answer], str]) -> Callable[[Answer], str]:
    """The same, or that this version is not served."""
    return lambda answer: "" if answer.code == "CM-NOT-FOUND" else holds_(answer)


class Frozen(Held):
    """A promotion would be refused."""

    def proof(self, project: Wiring, aim: Aim) -> str:
        """See `Doing`."""
        try:
            holds.require_none(project, self.what, aim.target)
        except RefusedError as error:
            return f"a promotion is refused: {error.message}"
        raise Unproven(f"{aim.target} could be promoted")


class Kept(Held):
    """`casemate gc` would not take it."""

    def proof(self, project: Wiring, aim: Aim) -> str:
        """See `Doing`."""
        super().proof(project, aim)
        if aim.target in leftover(project):
            raise Unproven(f"`casemate gc` would take {aim.target}")
        return f"`casemate gc` keeps {aim.target}"


STEPS: dict[str, Doing] = {
    "rollback": Rollback(),
    "withdraw": Withdrawn("answers"),
    "label-only": LabelOnly("probabilities"),
    "freeze": Frozen("releases"),
    "keep-evidence": Kept("deletion"),
    "hold-source": Held("teaching"),
}
