"""How a person begins, proves, strengthens and ends a session: as the user of this machine, by
password, or through a provider.

Every try is recorded, whatever comes of it. The command line acts with the session that was begun
last (`sessionfile`).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from casemate.controls.access.identity.sessions import Pair, Session
from casemate.controls.access.point import PolicyPoint
from casemate.controls.access.policy import Resource
from casemate.controls.access.types import Principal
from casemate.core.errors import AccessDenied, ConfigError

if TYPE_CHECKING:
    from casemate.controls.access.identity.jwt import Claims
    from casemate.controls.access.identity.oidc import Provider

WRONG = "wrong name or password, or too many tries"


class Logins:
    """Begins and ends sessions."""

    def __init__(self, point: PolicyPoint) -> None:
        self.point = point

    def login(self, name: str, password: str | None, code: str | None) -> Session:
        """Begin a session of a local account, or of the user of this machine, and let the command
        line act with it.

        Args:
            name: who.
            password: None for the user of this machine, whom the kernel has identified.
            code: of a second factor; needed where `[access] mfa` is "required" and for every
                account that has one.

        Raises:
            AccessDenied: wrong name, password or code, with one text; or there is no second factor
                where one is required.
        """
        point, method = self.point, "machine" if password is None else "password"
        try:
            found = self._proven(name, password)
            if code is not None:
                point.factors.verify(name, code)
            elif found.mfa:
                raise AccessDenied("this account has a second factor", hint="--code prompt")
        except AccessDenied as error:
            self._refused(f'User::"{name[:63]}"', "access:login", error)
            raise
        return self._begin(found, method, second_factor=code is not None)

    def _proven(self, name: str, password: str | None) -> Principal:
        point = self.point
        if password is not None:
            point.accounts.verify(name, password)
            found = point.directory.find("User", name)
        elif point.options.local:
            found = point.directory.current_user()
            if found.name != name:
                raise AccessDenied(
                    "the password is missing", hint="casemate access login NAME --password prompt"
                )
        else:
            found = None
        if found is None:
            raise AccessDenied(WRONG, hint="ask the project's owner")
        return found

    def through(self, provider: "Provider", proven: Callable[[], "Claims"]) -> Session:
        """Begin a session of the person whom a provider identifies.

        Where the provider gives roles, the person has exactly those from now on. Nobody is taken
        for somebody else because a name or a mail address is the same: accounts are told apart by
        the claims of `account`.

        Args:
            provider: which one.
            proven: ends the login there, and gives what the provider says.

        Raises:
            AccessDenied: the provider refuses, nobody here has this account, their name is taken,
                or the claims do not do.
            BackendError: the provider is away. RefusedError: the provider took the role `owner`
                from the last one.
        """
        directory, audit = self.point.directory, self.point.audit
        try:
            claims = proven()
            account, roles = provider.account(claims), provider.roles(claims)
            # By the provider's own name for the account: a name that people choose proves nothing.
            known = directory.of(account)
            name = known.name if known else self._new_name(provider, claims, account, roles)
            with self.point.store.transaction() as tx:
                if known is None:
                    directory.add(tx, name, roles or [], outside=account)
                    audit.append(
                        tx,
                        f'User::"{name}"',
                        "user:add",
                        f'User::"{name}"',
                        "done",
                        {"provider": provider.name, "roles": roles or []},
                    )
                elif roles is not None and directory.set_roles(tx, name, roles):
                    audit.append(
                        tx,
                        known.uid,
                        "role:grant",
                        known.uid,
                        "done",
                        {"provider": provider.name, "roles": roles},
                    )
            found = directory.find("User", name)
            if found is None:
                raise AccessDenied(f"the user {name!r} is disabled", hint="ask the project's owner")
        except AccessDenied as error:
            self._refused(f'Provider::"{provider.name}"', "access:login", error)
            raise
        used = provider.factor_used(claims)
        with self.point.store.transaction() as tx:
            pair = self.point.sessions.begin(
                tx, name, provider.name, mfa=used, device=self.point.posture()
            )
            detail = {"method": provider.name, "second_factor": used is not None}
            audit.append(tx, found.uid, "access:login", self._project, "done", detail)
        audit.publish()
        return self.take(pair)

    def _new_name(
        self, provider: "Provider", claims: "Claims", account: str, roles: list[str] | None
    ) -> str:
        """The name of a person who comes for the first time; AccessDenied when people must be
        registered before.
        """
        directory = self.point.directory
        if directory.knows(account):
            raise AccessDenied(
                "the user of this account is disabled", hint="ask the project's owner"
            )
        if not provider.table.register or roles == []:
            raise AccessDenied(
                "nobody here has this account, or it has no role",
                hint=f"the project's owner: casemate access user add NAME --account '{account}'",
            )
        name = provider.person(claims)
        try:
            directory.require_free(name)
        except ConfigError as error:
            raise AccessDenied(
                f"the provider calls this person {name!r}: {error.message}",
                hint=(
                    "the project's owner: casemate access user add OTHER-NAME --account"
                    f" '{account}'"
                ),
            ) from error
        return name

    def _begin(self, found: Principal, method: str, *, second_factor: bool) -> Session:
        point = self.point
        with point.store.transaction() as tx:
            used = point.clock.now() if second_factor else None
            pair = point.sessions.begin(tx, found.name, method, mfa=used, device=point.posture())
            point.audit.append(
                tx,
                found.uid,
                "access:login",
                self._project,
                "done",
                {"method": method, "second_factor": second_factor},
            )
        point.audit.publish()
        point.anomalies.entered(found.uid, second_factor=found.mfa)
        return self.take(pair)

    @property
    def _project(self) -> str:
        return self.point.resource(Resource())

    def _refused(self, uid: str, action: str, error: AccessDenied) -> None:
        if (
            uid.startswith("User")
            and self.point.directory.find(*uid.rstrip('"').split('::"', 1)) is None
        ):
            uid = 'User::"unknown"'  # names that strangers make up do not fill the catalogue
        self.point.audit.record(uid, action, self._project, "denied", reason=error.message)
        self.point.anomalies.count(uid, "failed")

    def take(self, pair: Pair) -> Session:
        """Act with a new session; the one before, if any, ends."""
        with self.point.session_file.alone():
            self._end_kept("replaced by a new login")
            self.point.session_file.keep(pair)
        return self.point.sessions.authenticate(pair.access)

    def step_up(self, code: str) -> Session:
        """Prove a second factor within the session; it goes on under new secrets.

        Raises:
            AccessDenied: the code is wrong. ConfigError: nobody is logged in.
        """
        point = self.point
        identity = point.identify()
        if identity.session is None:
            return self.login(identity.principal.name, None, code)
        self.prove(identity.principal, lambda: point.factors.verify(identity.principal.name, code))
        with point.session_file.alone():
            kept = point.session_file.read()
            if kept is None:
                raise ConfigError("nobody is logged in", hint="casemate access login")
            if point.sessions.authenticate(kept.access).principal.name != identity.principal.name:
                raise AccessDenied(
                    "somebody else has logged in meanwhile", hint="casemate access whoami"
                )
            pair = point.sessions.step_up(kept.access)
            self.point.session_file.keep(pair)
        return point.sessions.authenticate(pair.access)

    def prove(self, principal: Principal, check: Callable[[], object]) -> None:
        """Run the check of a second factor and record what came of it; AccessDenied as it raises
        it.
        """
        try:
            check()
        except AccessDenied as error:
            self._refused(principal.uid, "access:step-up", error)
            raise
        self.point.anomalies.entered(principal.uid, second_factor=True)
        self.point.audit.record(principal.uid, "access:step-up", self._project, "done")

    def logout(self) -> bool:
        """End the command line's session, also at the server; whether there was one."""
        with self.point.session_file.alone():
            return self._end_kept("logged out")

    def _end_kept(self, why: str) -> bool:
        try:
            kept = self.point.session_file.read()
        except AccessDenied:
            return self.point.session_file.remove()
        if kept is None:
            return False
        identifier = kept.access.split("_")[1]
        with self.point.store.transaction() as tx:
            self.point.sessions.end(tx, identifier, why)
        return self.point.session_file.remove()
