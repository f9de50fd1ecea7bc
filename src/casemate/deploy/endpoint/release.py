"""One release of an endpoint. SageMaker shifts requests to the new fleet itself and goes back by
alarms; what it does not do is refuse to call an update good that no alarm could judge.
"""

import time
from collections.abc import Callable
from typing import Any, Literal

from casemate.core.errors import Interrupted, RefusedError
from casemate.core.types import Record
from casemate.deploy.cluster.fields import ABSENT, differing, text
from casemate.deploy.cluster.types import Limits, Told
from casemate.deploy.endpoint.requests import Request, Requests
from casemate.deploy.endpoint.service import Service

STILL = ("InService", "Failed", "OutOfService", "UpdateRollbackFailed")
"""States in which nothing is being done any more."""
LIMITS = Limits(ready=7200.0, judge=1800.0, poll=15.0)
"""SageMaker starts machines, and shifts requests in minutes rather than seconds."""


class Served(Record, frozen=True, kw_only=True):
    """What became of it."""

    how: Literal["released", "unchanged"]
    endpoint: str
    configuration: str
    model: str
    requests: str
    """SHA-256 of what was asked for."""
    images: dict[str, str]
    reason: str = ""
    """How it was judged."""


class Update:
    """Brings the requests of one release to one account."""

    def __init__(
        self,
        service: Service,
        requests: Requests,
        *,
        released: str,
        registered: bool,
        limits: Limits,
        told: Told,
        progress: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """What is to be done.

        Args:
            service: where.
            requests: what.
            released: configuration that was released last, by the project's log; empty: none.
            registered: whether this model is in SageMaker's registry already.
            limits: `ready` is how long the update may take, `judge` the alarms.
            told: hears of each step that is done.
            progress: hears what is waited for.
            sleep: what waits.
            clock: seconds.
        """
        self.service, self.requests, self.limits = service, requests, limits
        self.released, self.registered = released, registered
        self.told, self.progress, self.sleep, self.clock = told, progress, sleep, clock

    def run(self) -> Served:
        """Do it.

        Raises:
            RefusedError: something with such a name is otherwise, or the new fleet is worse or was
                not measured: the former one serves. BackendError: AWS is away. Interrupted: from
                the keyboard; SageMaker goes on by itself.
        """
        try:
            return self._run()
        except KeyboardInterrupt:
            raise Interrupted(
                "stopped; SageMaker goes on with what it was told",
                hint="the same command waits for it, judges it, and takes it back if need be",
            ) from None

    def _run(self) -> Served:
        name, wanted = self.requests.name, self.requests.wanted
        there = self._settled(name)
        now = "" if there is None else str(there["EndpointConfigName"])
        if now == wanted and self.released == wanted:
            self._required()
            return self._result("unchanged")
        self.told("begun", bundle=self.requests.digest, images=self.requests.images)
        self._prepared()
        former = now if now not in ("", wanted) else self.released
        if there is None:
            self.service.do("create_endpoint", self.requests.endpoint)
        elif now != wanted:
            self.service.do("update_endpoint", self.requests.endpoint)
        self.told("place", configuration=wanted)
        self._shifted(name, wanted)
        reason = ""
        if former and former != wanted:
            reason = self._judged(former)
            self.told("judge", configuration=wanted, found=reason)
        self.told("released", configuration=wanted, bundle=self.requests.digest)
        return self._result("released", reason)

    def _prepared(self) -> None:
        """What the endpoint needs; nothing that is there is changed, but for alarms."""
        requests = self.requests
        for alarm in requests.alarms:
            self.service.put_alarm(alarm)
        group = requests.group["ModelPackageGroupName"]
        if self.service.describe("model_package_group", group) is None:
            self.service.do("create_model_package_group", requests.group)
        if not self.registered:
            made = self.service.do("create_model_package", requests.package)
            self.told("register", package=made.get("ModelPackageArn"))
        self._required(make=True)
        self.told("prepare", configuration=requests.wanted)

    def _required(self, *, make: bool = False) -> None:
        """Model and configuration are as they were rendered; RefusedError: they are not."""
        for what, request, name in (
            ("model", self.requests.model, "ModelName"),
            ("endpoint_config", self.requests.configuration, "EndpointConfigName"),
        ):
            there = self.service.describe(what, request[name])
            if there is None and make:
                self.progress(f"making the {what} {request[name]}")
                self.service.do(f"create_{what}", request)
                continue
            others = (
                [] if there is None else [text(path) for path, *_ in _otherwise(request, there)]
            )
            if there is None or others:
                raise RefusedError(
                    f"the {what} {request[name]} is not what was rendered: "
                    + (", ".join(others[:5]) or "it is gone"),
                    hint="casemate deploy drift FOLDER --to sagemaker; a name is used once:"
                    " delete it, or render for another model",
                )

    def _settled(self, name: str) -> Request | None:
        """The endpoint, once nothing is being done with it: an update may go on after a kill."""
        end = self.clock() + self.limits.ready
        while True:
            there = self.service.describe("endpoint", name)
            if there is None or there["EndpointStatus"] in STILL:
                return there
            self._wait(end, f"the endpoint {name} is {there['EndpointStatus']}")

    def _shifted(self, name: str, wanted: str) -> None:
        there = self._settled(name)
        status = "gone" if there is None else str(there["EndpointStatus"])
        why = "" if there is None else str(there.get("FailureReason", ""))[:300]
        if there is None or status != "InService":
            raise RefusedError(
                f"the endpoint {name} is {status}" + (f": {why}" if why else ""),
                hint="see its log in CloudWatch: the container says why it did not start",
            )
        if there["EndpointConfigName"] != wanted:
            self.told("rolled-back", configuration=wanted, reason=why or "by an alarm")
            raise RefusedError(
                f"SageMaker took {wanted} back: {why or 'an alarm fired while it was tried'}",
                hint=f"{there['EndpointConfigName']} serves as before; see the alarms",
            )

    def _judged(self, former: str) -> str:
        """What alarms say; back to the former fleet where they do not say that all is well."""
        names = [one["AlarmName"] for one in self.requests.alarms]
        end = self.clock() + self.limits.judge
        while True:
            states = {
                name: str(one["StateValue"]) for name, one in self.service.alarms(names).items()
            }
            said = {name: states.get(name, "not there") for name in names}
            if all(state == "OK" for state in said.values()):
                return f"{len(names)} alarms are OK"
            bad = [name for name, state in said.items() if state == "ALARM"]
            if bad or self.clock() >= end:
                break
            self.progress("waiting until alarms know enough")
            self.sleep(self.limits.poll)
        why = (
            f"{', '.join(bad)} fired"
            if bad
            else "inconclusive: "
            + ", ".join(f"{name} is {state}" for name, state in said.items() if state != "OK")
        )
        self.progress(f"going back to {former}")
        back = {"EndpointName": self.requests.name, "EndpointConfigName": former}
        self.service.do("update_endpoint", back)
        self._shifted(self.requests.name, former)
        self.told("rolled-back", configuration=self.requests.wanted, reason=why)
        raise RefusedError(
            f"the new version is not released: {why}", hint=f"{former} serves as before"
        )

    def _wait(self, end: float, what: str) -> None:
        if self.clock() >= end:
            raise RefusedError(
                f"{what} for longer than {self.limits.ready:.0f} s",
                hint="the same command waits on, with a larger --ready-seconds",
            )
        self.progress(what)
        self.sleep(self.limits.poll)

    def _result(self, how: Literal["released", "unchanged"], reason: str = "") -> Served:
        return Served(
            how=how,
            endpoint=self.requests.name,
            configuration=self.requests.wanted,
            model=self.requests.model_reference,
            requests=self.requests.digest,
            images=self.requests.images,
            reason=reason,
        )


class Otherwise(Record, frozen=True, kw_only=True):
    """One thing in the account that is not as rendered."""

    object: str
    field: str = ""
    rendered: str = ""
    there: str = ""


def drift(service: Service, requests: Requests) -> list[Otherwise]:
    """What the account has otherwise than the folder says; what it adds is no difference.

    Args:
        service: where.
        requests: what was rendered.
    """
    alarms = service.alarms([one["AlarmName"] for one in requests.alarms])
    compared: list[tuple[str, Request, Request | None]] = [
        (f"{what} {request[name]}", request, service.describe(what, request[name]))
        for what, request, name in (
            ("model_package_group", requests.group, "ModelPackageGroupName"),
            ("model", requests.model, "ModelName"),
            ("endpoint_config", requests.configuration, "EndpointConfigName"),
            ("endpoint", _lasting(requests.endpoint), "EndpointName"),
        )
    ]
    compared += [
        (f"alarm {one['AlarmName']}", one, alarms.get(one["AlarmName"])) for one in requests.alarms
    ]
    found = []
    for name, said, there in compared:
        if there is None:
            found.append(Otherwise(object=name, there="(nothing)"))
            continue
        found += [
            Otherwise(
                object=name,
                field=text(path),
                rendered=str(value)[:80],
                there="(nothing)" if other is ABSENT else str(other)[:80],
            )
            for path, value, other in _otherwise(said, there)
        ]
    return found


def _otherwise(said: Request, there: Request) -> list[tuple[tuple[str, ...], Any, Any]]:
    """Fields that differ; what is switched off may be left out of an answer."""
    return [one for one in differing(said, there) if one[1] is not False or one[2] is not ABSENT]


def _lasting(endpoint: Request) -> Request:
    """What stays of an update: how it was done is told only while it goes on."""
    return {name: value for name, value in endpoint.items() if name != "DeploymentConfig"}
