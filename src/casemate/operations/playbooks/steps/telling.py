"""Steps that tell people, and other parts of the project, what to do."""

from casemate.core.errors import ConfigError, RefusedError
from casemate.operations import demands
from casemate.operations.incidents import handling
from casemate.operations.playbooks.asking import Unproven
from casemate.operations.playbooks.steps import Doing
from casemate.respond import tables
from casemate.respond.playbooks.runs import Aim
from casemate.respond.states import Incident
from casemate.wiring import Wiring

NOTICE = "playbook:notice"


class Retrain:
    """A retraining is due, whatever else says so."""

    def aim(self, project: Wiring, of: str, incident: int) -> Aim:
        """See `Doing`."""
        newest = max((one.id for one in project.retrainings.all()), default=0)
        return Aim(target=f"incident {incident}", before=str(newest))

    def says(self, aim: Aim) -> str:
        """See `Doing`."""
        return f"demand a retraining for {aim.target}"

    def is_done(self, project: Wiring, aim: Aim) -> bool:
        """See `Doing`."""
        return any(
            one.id > int(aim.before)
            and one.state == "demanded"
            and one.because.startswith(f"{aim.target}: ")
            for one in project.retrainings.all()
        )

    def do(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        demands.demand(project, f"{aim.target}: {why}")

    def proof(self, project: Wiring, aim: Aim) -> str:
        """See `Doing`."""
        if not self.is_done(project, aim):
            raise Unproven("nobody demands a retraining")
        return "the next `casemate retrain run` trains, as far as its budgets allow"

    def undo(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        raise RefusedError("a demand is not taken back", hint="casemate retrain plan")


class OpenTicket:
    """Somebody who looks at a tracker only sees it too."""

    def aim(self, project: Wiring, of: str, incident: int) -> Aim:
        """See `Doing`."""
        if of not in project.config.trackers:
            raise ConfigError(f"there is no [trackers.{of[:40]}]", hint="casemate tracker list")
        return Aim(target=of, before=str(incident))

    def says(self, aim: Aim) -> str:
        """See `Doing`."""
        return f"open a ticket at {aim.target}"

    def is_done(self, project: Wiring, aim: Aim) -> bool:
        """See `Doing`."""
        return project.ticket(aim.target, int(aim.before)) is not None

    def do(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        handling.open_ticket(project, int(aim.before), aim.target)

    def proof(self, project: Wiring, aim: Aim) -> str:
        """See `Doing`."""
        reference = project.ticket(aim.target, int(aim.before))
        if reference is None:
            raise Unproven(f"{aim.target} has no ticket of this incident")
        tracker = project.tracker(aim.target)
        if not tracker.reads:
            return f"{aim.target} took it; it cannot be asked"
        state = tracker.read(reference).state
        return f"{reference.url or reference.id} is {state}"

    def undo(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        raise RefusedError("a ticket is closed with its incident", hint="casemate incident close")


class Notify:
    """Whoever hears notices is told a sentence."""

    def aim(self, project: Wiring, of: str, incident: int) -> Aim:
        """See `Doing`."""
        if not any(route.hears(NOTICE) for route in project.outbox.routes.values()):
            raise RefusedError(
                f"nobody hears {NOTICE}", hint=f"[notices.NAME] on = [{NOTICE!r}] in casemate.toml"
            )
        return Aim(target=of, before=f"incident {incident}")

    def says(self, aim: Aim) -> str:
        """See `Doing`."""
        return f"tell whoever hears notices: {aim.target}"

    def is_done(self, project: Wiring, aim: Aim) -> bool:
        """See `Doing`."""
        return bool(self._messages(project, aim))

    def _messages(self, project: Wiring, aim: Aim) -> list[str]:
        """States of the messages, one a receiver."""
        return project.outbox.states(self._key(aim))

    @staticmethod
    def _key(aim: Aim) -> str:
        return f"{NOTICE}/{aim.before}/{aim.target}"

    def do(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        handling.tell(project, self._key(aim), aim.target, why)

    def proof(self, project: Wiring, aim: Aim) -> str:
        """See `Doing`."""
        project.outbox.send()  # whoever died between had queued it only
        states = self._messages(project, aim)
        if not states or any(state != "sent" for state in states):
            raise Unproven(
                f"messages are {', '.join(states) or 'gone'}", hint="casemate outbox list"
            )
        return f"{len(states)} receivers took it"

    def undo(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        raise RefusedError("what was said stays said", hint="say something else")


class Contain:
    """The incident does no more harm, because what is needed for that is proven."""

    def aim(self, project: Wiring, of: str, incident: int) -> Aim:
        """See `Doing`."""
        return Aim(target=str(incident))

    def says(self, aim: Aim) -> str:
        """See `Doing`."""
        return f"say that incident {aim.target} is contained"

    def is_done(self, project: Wiring, aim: Aim) -> bool:
        """See `Doing`."""
        return self._found(project, aim).contained is not None

    def _found(self, project: Wiring, aim: Aim) -> Incident:
        """The incident, or the one that it became part of."""
        with project.database.reading() as tx:
            return tables.lasting(tx, int(aim.target))

    def do(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        handling.contain(project, self._found(project, aim).id, why)

    def proof(self, project: Wiring, aim: Aim) -> str:
        """See `Doing`."""
        if not self.is_done(project, aim):
            raise Unproven(f"incident {aim.target} is not contained")
        return f"incident {self._found(project, aim).id} is contained"

    def undo(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        raise RefusedError(
            "an incident that does harm again takes new alerts", hint="casemate incident show"
        )


STEPS: dict[str, Doing] = {
    "retrain": Retrain(),
    "ticket": OpenTicket(),
    "notify": Notify(),
    "contain": Contain(),
}
