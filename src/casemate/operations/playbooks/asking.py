"""Gateways are asked what they do: what is in the catalogue proves nothing about them."""

import contextlib
import datetime
import secrets
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote

import msgspec

from casemate.controls.access.identity.registered import PrincipalRow
from casemate.controls.access.identity.tokens import TokenLimits
from casemate.core import http
from casemate.core.errors import BackendError, Error
from casemate.wiring import Wiring

TIMEOUT = 5.0
"""Seconds for one answer; a gateway answers such questions in milliseconds."""
PATIENCE = 10.0
"""Seconds in which a gateway must have followed: it looks at the catalogue four times a second."""
PAUSE = 0.25
SERVER = "/v2"
"""Where a gateway describes itself."""
AGREEING = 3
"""Answers a worker process that must agree, each on a connection of its own: whichever process the
kernel gives them to.
"""
MINUTE = datetime.timedelta(minutes=1)
TOKEN_SECONDS = 45.0
"""In which a token for a minute is worth something for sure."""


class Unproven(BackendError):
    """Something was done, and could not be seen to have worked."""

    code = "CM-UNPROVEN"
    who = "whoever handles the incident: look at the gateway that is named"


class Signed(msgspec.Struct):
    """By which digest a gateway says that a model was signed."""

    digest: str = ""


class Output(msgspec.Struct):
    """What a gateway offers of an answer."""

    name: str


class Described(msgspec.Struct):
    """What a gateway says of a model, as far as it is needed here."""

    versions: list[str]
    outputs: list[Output]
    parameters: Signed


class Server(msgspec.Struct):
    """What a gateway says of itself."""

    access_epoch: int


class Refusal(msgspec.Struct):
    """Why a gateway refuses."""

    code: str = ""


class Answer(msgspec.Struct):
    """A gateway's answer."""

    status: int
    said: Described | None = None
    """Where it described a model."""
    epoch: int = -1
    """Where it described itself: up to which change it knows who may act."""
    code: str = ""
    """Where it refused: of the error."""

    @property
    def is_withdrawn(self) -> bool:
        """Whether it says that it does not let a model answer."""
        return self.code == "CM-WITHDRAWN"


def gateways(project: Wiring) -> list[str]:
    """Addresses of the gateways that must be asked: `[incidents] gateways`, else `[serve]`."""
    serve = project.config.serve
    return project.config.incidents.gateways or [f"https://{serve.host}:{serve.port}"]


def registered(project: Wiring, service: str) -> PrincipalRow | None:
    """A service, also one that is suspended; None: there is none of that name."""
    rows = project.point.directory.rows()
    return next((one for one in rows if (one.kind, one.name) == ("Service", service)), None)


@contextlib.contextmanager
def token(
    project: Wiring, service: str = "", *, roles: tuple[str, ...] = ("monitor",)
) -> Iterator[str]:
    """A token for a minute that may only look; of a service of its own, or a twin of those of
    `service`, with its roles and models. It is revoked afterwards, or forgotten with its service.
    """
    point, own = project.point, not service
    name = service or f"proof-{secrets.token_hex(4)}"
    known = registered(project, name)
    if known is None and service:
        raise Unproven(f"there is no service {service} any more", hint="casemate access list")
    given = list(roles) if known is None else known.roles
    models = ["*"] if known is None else known.models
    with project.database.transaction() as tx:
        made, identifier = point.tokens.create(
            tx, name, given, models, MINUTE, TokenLimits(actions=("gateway:read", "model:read"))
        )
        detail = {"token": identifier, "roles": given, "seconds": 60, "proof": True}
        project.log.append(
            tx, point.actor.uid, "token:create", f'Service::"{name}"', "done", detail
        )
    try:
        yield made
    finally:
        with project.database.transaction() as tx:
            if own:
                point.tokens.forget(tx, name)
            else:
                point.tokens.revoke(tx, identifier)
            about = f'Token::"{identifier}"'
            project.log.append(tx, point.actor.uid, "token:revoke", about, "done", {"proof": True})


def get(project: Wiring, gateway: str, path: str, bearer: str) -> Answer:
    """What a gateway answers; BackendError: it is away."""
    headers = {"Authorization": f"Bearer {bearer}", "Connection": "close"}
    ca = project.keystore.folder / "public" / "ca.pem"
    status, body = http.get(gateway + path, headers, TIMEOUT, ca=ca)
    answer = Answer(status)
    with contextlib.suppress(msgspec.MsgspecError):  # not one of ours: it says nothing
        if status != 200:
            answer.code = msgspec.json.decode(body, type=Refusal).code
        elif path == SERVER:
            answer.epoch = msgspec.json.decode(body, type=Server).access_epoch
        else:
            answer.said = msgspec.json.decode(body, type=Described)
    return answer


def followed(project: Wiring) -> None:
    """Wait until every gateway knows of the newest change of who may act, and has forgotten what it
    had verified before; Unproven: one does not.
    """
    epoch = project.point.directory.epoch()

    def holds(answer: Answer) -> str:
        return "" if answer.epoch >= epoch else "it does not know yet who may act"

    with token(project) as bearer:
        agreed(project, SERVER, bearer, holds)


def agreed(project: Wiring, path: str, bearer: str, holds: Callable[[Answer], str]) -> None:
    """Ask every gateway until all its answers are as they must be.

    Args:
        project: whose gateways.
        path: what is asked for.
        bearer: with which token.
        holds: what is wrong with an answer; empty: nothing.

    Raises:
        Unproven: a gateway is away, or has not followed in time.
    """
    most, last = AGREEING * project.config.serve.workers, time.monotonic() + TOKEN_SECONDS
    for gateway in gateways(project):
        end, count, wrong = time.monotonic() + PATIENCE, 0, "it was not asked"
        while count < most:
            try:
                wrong = holds(get(project, gateway, path, bearer))
            except Error as error:
                wrong = error.message
            if time.monotonic() > last:  # a token that has run out is refused for that alone
                raise Unproven(
                    f"{gateway}: it took more than {TOKEN_SECONDS:.0f} seconds to ask all of them",
                    hint="casemate playbook resume tries again",
                )
            if wrong and time.monotonic() > end:
                raise Unproven(f"{gateway}: {wrong}", hint="casemate playbook resume tries again")
            count = 0 if wrong else count + 1
            if wrong:
                time.sleep(PAUSE)


def paths_of(project: Wiring, model: str) -> list[str]:
    """Where gateways describe a model: under each name that it is served by."""
    names = [
        alias for alias, of in project.config.serve.models.items() if of.partition("@")[0] == model
    ]
    return [f"/v2/models/{quote(one, safe='')}" for one in names or [model]]


def named(project: Wiring) -> str:
    """The gateways that were asked, in words."""
    return ", ".join(gateways(project))
