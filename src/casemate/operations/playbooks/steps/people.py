"""Steps about who may act."""

from casemate.controls.access.types import Principal
from casemate.core.errors import ConfigError, RefusedError
from casemate.operations.access import logins, machines, people
from casemate.operations.keys import custody
from casemate.operations.playbooks import asking
from casemate.operations.playbooks.asking import Answer, Unproven
from casemate.operations.playbooks.steps import Doing
from casemate.respond.playbooks.runs import Aim
from casemate.wiring import Wiring

UNKNOWN = 401
"""What a gateway answers to a token that it does not take."""


def refused(answer: Answer) -> str:
    """What is wrong with an answer that should have been a refusal of the token."""
    return "" if answer.status == UNKNOWN else f"it answers {answer.status} to a token of it"


def known(project: Wiring, of: str, *, person: bool = False) -> Principal:
    """Who is meant; ConfigError: nobody of the project."""
    one = people.principal_named(of)
    found = {(row.kind, row.name) for row in project.point.directory.rows()}
    if (one.kind, one.name) not in found or (person and one.kind != "User"):
        raise ConfigError(f"{of[:80]!r} is nobody of this project", hint="casemate access list")
    return one


def live(project: Wiring, name: str) -> bool:
    """Whether a session of a person could still act or be renewed."""
    return any(one.name == name for one in project.point.sessions.live())


class Suspend:
    """Nobody acts as them."""

    def aim(self, project: Wiring, of: str, incident: int) -> Aim:
        """See `Doing`."""
        return Aim(target=known(project, of).uid)

    def says(self, aim: Aim) -> str:
        """See `Doing`."""
        return f"suspend {aim.target}"

    def is_done(self, project: Wiring, aim: Aim) -> bool:
        """See `Doing`."""
        one = people.principal_named(aim.target)
        return project.point.directory.find(one.kind, one.name) is None

    def do(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        people.suspend(project, aim.target, why)

    def proof(self, project: Wiring, aim: Aim) -> str:
        """See `Doing`."""
        one = people.principal_named(aim.target)
        if not self.is_done(project, aim):
            raise Unproven(f"{aim.target} may act")
        if one.kind == "User":
            if live(project, one.name):
                raise Unproven(f"a session of {aim.target} lives")
            asking.followed(project)
            return f"no session of {aim.target} lives, and {asking.named(project)} knows it"
        asking.followed(project)
        with asking.token(project, one.name) as twin:
            asking.agreed(project, asking.SERVER, twin, refused)
        return f"a fresh token of {aim.target} is refused by {asking.named(project)}"

    def undo(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        people.resume(project, aim.target, why)


class EndSessions:
    """Whoever is logged in has to log in again."""

    def aim(self, project: Wiring, of: str, incident: int) -> Aim:
        """See `Doing`."""
        return Aim(target=known(project, of, person=True).uid)

    def says(self, aim: Aim) -> str:
        """See `Doing`."""
        return f"end the sessions of {aim.target}"

    def is_done(self, project: Wiring, aim: Aim) -> bool:
        """See `Doing`."""
        return not live(project, people.principal_named(aim.target).name)

    def do(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        logins.end_sessions(project, people.principal_named(aim.target).name, why)

    def proof(self, project: Wiring, aim: Aim) -> str:
        """See `Doing`."""
        if not self.is_done(project, aim):
            raise Unproven(f"a session of {aim.target} lives")
        return f"no session of {aim.target} lives"

    def undo(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        raise RefusedError("a session that was ended stays so", hint="they may log in again")


class RevokeToken:
    """A token is good for nothing any more."""

    def aim(self, project: Wiring, of: str, incident: int) -> Aim:
        """See `Doing`."""
        for one in project.point.tokens.all():
            if one.id == of:
                return Aim(target=of, before=one.service)
        raise ConfigError(f"no token with id {of[:20]!r}", hint="`casemate access token list`")

    def says(self, aim: Aim) -> str:
        """See `Doing`."""
        return f"revoke the token {aim.target} of {aim.before}"

    def is_done(self, project: Wiring, aim: Aim) -> bool:
        """See `Doing`."""
        return all(one.revoked for one in project.point.tokens.all() if one.id == aim.target)

    def do(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        machines.revoke_token(project, aim.target)

    def proof(self, project: Wiring, aim: Aim) -> str:
        """Its secret is known to nobody here, so a twin of it that was revoked after it is tried,
        where the gateway says that it knows of both.
        """
        if not self.is_done(project, aim):
            raise Unproven(f"the token {aim.target} is not revoked")
        if asking.registered(project, aim.before) is None:
            asking.followed(project)
            return f"its service is gone, and {asking.named(project)} knows it"
        with asking.token(project, aim.before) as twin:
            pass
        asking.followed(project)
        asking.agreed(project, asking.SERVER, twin, refused)
        return f"it is revoked, and a twin revoked after it is refused by {asking.named(project)}"

    def undo(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        raise RefusedError(
            "a revoked token stays revoked",
            hint=f"casemate access token create {aim.before} makes another one",
        )


class RevokeCertificate:
    """A certificate is good for nothing any more."""

    def aim(self, project: Wiring, of: str, incident: int) -> Aim:
        """See `Doing`."""
        if of not in {str(one["serial"]) for one in project.certificates.list()}:
            raise ConfigError(
                f"there is no certificate {of[:80]!r}", hint="casemate keys certificate list"
            )
        return Aim(target=of)

    def says(self, aim: Aim) -> str:
        """See `Doing`."""
        return f"revoke the certificate {aim.target}"

    def is_done(self, project: Wiring, aim: Aim) -> bool:
        """See `Doing`."""
        return int(aim.target, 16) in project.certificates.revoked()

    def do(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        custody.revoke(project, aim.target)

    def proof(self, project: Wiring, aim: Aim) -> str:
        """See `Doing`."""
        if not self.is_done(project, aim):
            raise Unproven(f"the certificate {aim.target} is not revoked")
        return "the list of revocations, which gateways ask before every request, has it"

    def undo(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        raise RefusedError(
            "a revoked certificate stays revoked", hint="casemate keys certificate issue"
        )


STEPS: dict[str, Doing] = {
    "suspend": Suspend(),
    "end-sessions": EndSessions(),
    "revoke-token": RevokeToken(),
    "revoke-certificate": RevokeCertificate(),
}
