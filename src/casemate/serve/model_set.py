"""What is served under which name: models by alias, their live version, canary and shadow; kept up
to date while requests go on.

Nothing gets here that was not verified, and what is here is verified again and again: a model that
turns bad is withdrawn, the others go on. A change swaps whole endpoints, so a request that has
begun ends on the version that it began on.
"""

import asyncio
import contextlib
import datetime
import functools
import math
import time
from collections.abc import Callable
from typing import Any

from casemate.core.errors import ConfigError, Error, UnexplainedRow
from casemate.operations.models import canary_failed
from casemate.respond.holds import Hold
from casemate.serve.barred import Barred
from casemate.serve.batch import BatchListener
from casemate.serve.endpoint import Endpoint
from casemate.serve.health import Health
from casemate.serve.heartbeat import Board, Heartbeat, Notice
from casemate.serve.loading import fault_of, loaded
from casemate.serve.metrics import Metrics
from casemate.serve.versions import Served, Version, show
from casemate.stages.release.rollout import Part, Released
from casemate.watch.canary import Statistics, worse
from casemate.wiring import Wiring

LOOK_SECONDS = 0.25
"""Between two looks at what is released: how long a rollback takes to be seen. Chosen."""
JUDGE_SECONDS = 1.0
"""Between two judgements of what a canary did. Chosen."""
AGAIN_SECONDS = 30.0
"""After which a version that could not be loaded is tried again."""


class ModelSet:
    """The names that a gateway serves."""

    def __init__(
        self,
        project: Wiring,
        metrics: Metrics,
        listener: BatchListener,
        incident: Callable[[str, str, str], None],
        health: Health,
        board: Board | None = None,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        """Nothing is loaded yet.

        Args:
            project: whose models.
            metrics: where versions are counted.
            listener: hears how requests end.
            incident: hears (model, event, message) of what a person must look at; may block.
            health: hears what does not work.
            board: where the supervisor says what stood still; None without one.
            heartbeat: where it is told of what is computed.
        """
        self._health, self._board = health, board
        self._heartbeat = heartbeat or Heartbeat.alone()
        self._notice: tuple[int, Notice] = (0, Notice())
        self.project = project
        self.table = project.config.serve
        self._metrics, self._listener, self._incident = metrics, listener, incident
        named = self.table.models or {project.config.project.name: project.config.project.name}
        self.served: dict[str, Served] = {}
        for alias, reference in named.items():
            model, _, version = reference.partition("@")
            if version and not version.isdecimal():
                raise ConfigError(
                    f"[serve.models] {alias}: {reference!r} is no NAME or NAME@VERSION",
                    hint="such as wdbc@3",
                )
            self.served[alias] = Served(alias, model, int(version) if version else None)
        self._releases: list[Released] = []
        self._holds: list[Hold] = []
        self._barred = Barred(project)
        self._untold: dict[tuple[str, str], str] = {}
        """Withdrawn versions that are not on record yet, each with the kind of fault, and why."""
        self._compromises: dict[str, datetime.datetime] | None = {}
        self._tried: tuple[list[Released], float] = ([], -math.inf)
        """Releases of which a version could not be loaded, and when to try again."""
        self._looked = self._sought = -math.inf

    def load(self) -> None:
        """Verify and load everything; raises what is wrong with the first model that cannot be
        served.
        """
        self._compromises = self.project.compromises.all()
        self._holds = self.project.holds_kept.all()
        self._barred.follow()
        releases = self.project.rollouts.all()
        for served in self.served.values():
            wanted = self._wanted(served, releases).items()
            self._apply(served, {part: loaded(self.project, one) for part, one in wanted}, releases)
        self._releases, self._looked = releases, time.monotonic()

    @property
    def references(self) -> list[str]:
        """What is live, as `NAME@VERSION`."""
        return [
            served.live.endpoint.reference
            for served in self.served.values()
            if served.live is not None
        ]

    def _wanted(self, served: Served, releases: list[Released]) -> dict[Part, str]:
        if served.pinned is not None:
            return {"live": f"{served.model}@{served.pinned}"}
        wanted: dict[Part, str] = {
            released.part: released.reference
            for released in releases
            if released.model == served.model
        }
        if "live" not in wanted:
            sound = served.live is not None and "signature" not in served.live.endpoint.faults
            kept = (
                served.live.endpoint.reference
                if served.live is not None and sound
                else served.model
            )
            wanted["live"] = self.project.registry.get(kept).reference
        return wanted

    def _apply(
        self, served: Served, endpoints: dict[Part, Endpoint], releases: list[Released]
    ) -> None:
        """Swap in what is new; what stays keeps its queue and its counts."""
        before = {version.endpoint.reference: version for version in served.versions()}
        for former in before.values():
            self._metrics.gauges.pop(
                ("casemate_model", served.model, former.endpoint.version, former.part), None
            )
        for part in ("live", "canary", "shadow"):
            endpoint = endpoints.get(part)
            version = None
            if endpoint is not None:
                version = before.get(endpoint.reference)
                if version is None or version.endpoint is not endpoint:
                    version = Version(
                        endpoint, part, self.table.deadline, self._listener, self._heartbeat
                    )
                    self._suspect(endpoint)
                if version.part != part:
                    version.part, version.seen = part, Statistics()
            setattr(served, part, version)
        if (
            served.live is not None
            and served.canary is not None
            and before.get(served.canary.endpoint.reference) is not served.canary
        ):
            served.live.seen = Statistics()  # both are judged by the same time
        canary = next(
            (one for one in releases if one.model == served.model and one.part == "canary"), None
        )
        served.share = canary.share if canary is not None else 0.0
        served.principals = frozenset(canary.principals) if canary is not None else frozenset()
        for version in served.versions():
            version.endpoint.hold(self._holds)
            version.endpoint.barred = self._barred
            show(self._metrics, version)

    async def _follow_decided(self) -> None:
        """What is held, and who is barred: until either can be told it stays as it was."""
        try:
            holds = await self._aside(self.project.holds_kept.all)
            if holds != self._holds:
                self._holds = holds
                for version in self._versions():
                    version.endpoint.hold(holds)
                    show(self._metrics, version)
            self._health.well("holds")
        except Exception as error:  # noqa: BLE001 - the next turn looks again
            self._health.failed("holds", error)
        try:
            await self._aside(self._barred.follow)
            self._health.well("restrictions")
        except Exception as error:  # noqa: BLE001 - the same; nobody who is named is answered
            self._health.failed("restrictions", error)

    @property
    def answering(self) -> bool:
        """Whether any model can be asked."""
        return any(
            served.live is not None and not served.live.endpoint.withdrawn
            for served in self.served.values()
        )

    def _suspect(self, endpoint: Endpoint) -> None:
        """Apply what the supervisor said of models that stood still."""
        _, notice = self._notice
        endpoint.suspect = endpoint.suspect or endpoint.reference in notice.stuck
        if endpoint.reference in notice.withdrawn:
            endpoint.judge("stuck", f"it stood still {notice.stuck[endpoint.reference]} times")

    def listen(self) -> list[Version]:
        """Hear what the supervisor says; returns what is withdrawn from now on."""
        heard = None if self._board is None else self._board.heard()
        if heard is None or heard[0] == self._notice[0]:
            return []
        self._notice = heard
        for reason, count in heard[1].replaced.items():
            self._metrics.gauges["casemate_workers_replaced", reason] = count
        fresh = []
        for version in self._versions():
            before = "stuck" in version.endpoint.faults
            self._suspect(version.endpoint)
            show(self._metrics, version)
            if "stuck" in version.endpoint.faults and not before:
                fresh.append(version)
        return fresh

    def give_up(self) -> None:
        """Let nobody wait for a model that stands still in a thread; this worker is about to be
        replaced.
        """
        for version in self._versions():
            if version.batcher.give_up():
                version.endpoint.judge("stuck", "it stands still")
                show(self._metrics, version)

    def _mistrust(self) -> None:
        """Withdraw a model whose own code tried what its sandbox refuses; for good."""
        for version in self._versions():
            fault = version.endpoint.tried
            if fault and version.endpoint.judge("code", fault):
                self._untold[version.endpoint.reference, "code"] = fault
                show(self._metrics, version)

    async def watch(self) -> None:
        """Follow what is released, verify what is served, judge canaries; for ever."""
        judged = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.give_up()
            self._mistrust()
            await self._follow_decided()  # whatever goes wrong with releases
            try:
                await self._withdrawn(self.listen())
                await self._distrust()
                releases = await self._aside(self.project.rollouts.all)
                changed = releases != self._releases and (
                    releases != self._tried[0] or time.monotonic() >= self._tried[1]
                )
                if changed or self._orphaned():
                    await self._follow(releases)
                if time.monotonic() - self._looked >= self.table.verify_minutes * 60:
                    self._looked = time.monotonic()
                    await self.verify()
                if time.monotonic() - judged >= JUDGE_SECONDS:
                    judged = time.monotonic()
                    await self._judge()
                await self._tell()
                self._health.well("releases")
            except Exception as error:  # noqa: BLE001 - the catalogue may be away for a moment; what is served goes on and the next turn looks again
                self._health.failed("releases", error)

    async def _distrust(self) -> None:
        """Verify everything again as soon as a compromise of a signer is declared, on whatever
        host.
        """
        try:
            declared = await self._aside(self.project.compromises.all)
        # somebody may want to hide one: nobody can say which signatures count
        except UnexplainedRow as error:
            self._compromises = None
            self._judged(dict.fromkeys(self._versions(), error.message))
            return
        if declared == self._compromises:
            return
        try:
            await self._aside(self.project.reload_signers)
            self._health.well("signers")
        finally:  # what the key store could not tell, the catalogue has
            await self.verify()
            self._compromises = declared

    def _orphaned(self) -> bool:
        """Whether a model that nobody promoted does not verify any more, so that a newer version
        may take its place; asked once a second.
        """
        if time.monotonic() - self._sought < JUDGE_SECONDS:
            return False
        self._sought = time.monotonic()
        return any(
            served.pinned is None
            and served.live is not None
            and "signature" in served.live.endpoint.faults
            for served in self.served.values()
        )

    async def _withdrawn(self, versions: list[Version]) -> None:
        """Note whom to tell of models that the supervisor has withdrawn; a canary goes at once."""
        for version in versions:
            self._untold[version.endpoint.reference, "stuck"] = version.endpoint.faults["stuck"]
        for endpoint in [version.endpoint for version in versions if version.part == "canary"]:
            with contextlib.suppress(ConfigError):  # another worker was faster
                await self._aside(
                    canary_failed,
                    self.project,
                    endpoint.name,
                    int(endpoint.version),
                    endpoint.faults["stuck"],
                )

    async def _aside(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(
            None, functools.partial(work, *arguments)
        )

    async def _follow(self, releases: list[Released]) -> None:
        whole = True
        for served in self.served.values():
            here = {version.endpoint.reference: version.endpoint for version in served.versions()}
            endpoints: dict[Part, Endpoint] = {}
            wanted = await self._aside(self._wanted, served, releases)
            for part, reference in wanted.items():
                try:
                    endpoints[part] = here.get(reference) or await self._aside(
                        loaded, self.project, reference
                    )
                except Error as error:
                    whole = False
                    if releases != self._tried[0]:
                        await self._aside(
                            self._incident, reference, "model:not-loaded", error.message
                        )
                    if part == "live" and served.live is not None:
                        endpoints["live"] = served.live.endpoint
            self._apply(served, endpoints, releases)
        if whole:
            self._releases = releases
        self._tried = (releases, time.monotonic() + AGAIN_SECONDS)

    async def verify(self) -> None:
        """Look at the signatures and digests of everything that is served again, and withdraw what
        does not hold.
        """
        away: Error | None = None
        for version in self._versions():
            try:
                self._judged({version: await self._aside(fault_of, self.project, version.endpoint)})
            # such as a key provider that is away: nobody can say just now, and what was said before
            # holds
            except Error as error:
                away = error
        if away is None:
            self._health.well("verification")
        else:
            self._health.failed("verification", away)

    def _versions(self) -> list[Version]:
        return [version for served in self.served.values() for version in served.versions()]

    def _judged(self, faults: dict[Version, str]) -> None:
        """Withdraw versions for what is wrong with their signature, or take that back."""
        for version, fault in faults.items():
            if version.endpoint.judge("signature", fault):
                self._untold[version.endpoint.reference, "signature"] = fault
            show(self._metrics, version)

    async def _tell(self) -> None:
        """Record and tell what was withdrawn; what fails stays due."""
        for (reference, kind), fault in list(self._untold.items()):
            await self._aside(self._incident, reference, "model:withdrawn", fault)
            del self._untold[reference, kind]

    async def _judge(self) -> None:
        """Take a canary back that does worse than the live version."""
        for served in self.served.values():
            canary = served.canary
            if canary is None or served.pinned is not None:
                continue
            why = worse(
                self.table.canary,
                canary.seen,
                served.live.seen if served.live is not None else Statistics(),
            )
            if why:
                served.canary = None  # at once here; the catalogue tells the others
                try:
                    await self._aside(
                        canary_failed, self.project, served.model, int(canary.endpoint.version), why
                    )
                except Error as error:
                    if not isinstance(error, ConfigError):  # otherwise another gateway was faster
                        served.canary = canary
                    raise
                await self._aside(
                    self._incident, canary.endpoint.reference, "model:canary-failed", why
                )
