"""Who acts, how that is known, and whether they may add a factor to their own login."""

import datetime
from dataclasses import dataclass

from casemate.controls.access.anomalies import FACTOR_RISK
from casemate.controls.access.identity.sessions import Session
from casemate.controls.access.situation import Situation
from casemate.controls.access.types import Principal
from casemate.core.errors import AccessDenied

FRESH = 900
"""Seconds for which a second factor counts as just used."""
FIRST_FACTOR = datetime.timedelta(minutes=10)
"""After a login, within which a person without a second factor may add one."""


@dataclass(frozen=True)
class Identity:
    """Who acts, and how that is known."""

    principal: Principal
    session: Session | None
    """None for the user of this machine."""

    @property
    def method(self) -> str:
        """How the person proved who they are."""
        return self.session.method if self.session else "machine"


def own_factor(identity: Identity, situation: Situation) -> Principal:
    """Whoever acts, if they may add a factor to their own login now: the first one soon after a
    login, or with the help of one that they have.

    Raises:
        AccessDenied: the login is too old, or something unusual is open about them: who stole a
            session must not make it stronger.
    """
    session = identity.session
    age = situation.mfa_age
    if situation.risk >= FACTOR_RISK and (age is None or age > FRESH):
        raise AccessDenied(
            "something unusual is open about this login",
            hint="ask an auditor or owner to look: casemate access finding list",
        )
    if (
        not identity.principal.mfa
        and session is not None
        and situation.now - session.started > FIRST_FACTOR
    ):
        raise AccessDenied(
            "a first second factor is added within ten minutes of the login",
            hint="casemate access login again",
        )
    if identity.principal.mfa and (age is None or age > FRESH):
        raise AccessDenied(
            "a second factor is replaced with the help of the first one",
            hint="casemate access step-up --code prompt",
        )
    return identity.principal
