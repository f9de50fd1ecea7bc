"""One release, step by step: beside the former version, judged, then in its place; or everything as
it was.

Each step may be done twice, and the journal says which one is being done: whoever comes after a
process that ended in the middle goes on, or takes back what had begun.
"""

import datetime
import time
from collections.abc import Callable
from typing import Any, Literal

from casemate.core.errors import (
    BackendError,
    Error,
    Interrupted,
    LeaseLost,
    RefusedError,
)
from casemate.deploy.cluster.back import KEEP, Objects, owner_of
from casemate.deploy.cluster.client import Cluster
from casemate.deploy.cluster.documents import PROJECT, REVISION, Document, key_of
from casemate.deploy.cluster.journal import FORWARD, Entry, Journal, Keeper, Kept, Step
from casemate.deploy.cluster.plan import Bundle, named, towards, with_count
from casemate.deploy.cluster.types import Applied, Judging, Limits, Told
from casemate.deploy.cluster.waiting import Waiting


class Release:
    """Brings one bundle to one cluster."""

    def __init__(
        self,
        cluster: Cluster,
        bundle: Bundle,
        kept: Kept,
        *,
        judge: Judging | None,
        limits: Limits,
        who: str,
        told: Told,
        progress: Callable[[str], None] = lambda _: None,
        take_over: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """What is to be done.

        Args:
            cluster: where.
            bundle: what.
            kept: what was released from here before.
            judge: of the new version beside the live one; None: there are no figures.
            limits: how long it may take.
            who: releases, for the journal.
            told: hears of each step that is done.
            progress: hears what is waited for.
            take_over: fields that others manage too.
            sleep: what waits.
            clock: seconds.
        """
        self.cluster, self.bundle, self.kept, self.judge = cluster, bundle, kept, judge
        self.limits, self.who, self.told, self.progress = limits, who, told, progress
        self.take_over, self.sleep, self.clock = take_over, sleep, clock
        self.objects = Objects(cluster, kept, bundle.project, bundle.namespace)
        self.keeper = Keeper(
            cluster, bundle.namespace, bundle.project, patience=limits.patience, sleep=sleep
        )
        self.waiting = Waiting(cluster, limits, progress=progress, pause=self._pause, clock=clock)

    def run(self) -> Applied:
        """Do it.

        Raises:
            RefusedError: others manage fields, or there is no judge for what must be judged.
            BusyError: somebody else releases. BackendError: the cluster is away, with what is to
                be done. Interrupted: from the keyboard; everything is as it was.
        """
        self._namespaces()
        journal = self.keeper.read()
        self._require_judge(journal)
        self.checked(journal)
        journal = self.keeper.take(self.progress)
        try:
            journal = self._settled(journal)
            if self._stands(journal):
                return self._again(journal)
            if journal.pending is None:
                journal = self._begun(journal)
            return self._forward(journal)
        except LeaseLost:
            raise
        except (Error, KeyboardInterrupt) as error:
            self._taken_back(error)
            raise

    # before anything is changed

    def _namespaces(self) -> None:
        """Make those that are not there: the journal stands in one."""
        for one in self.bundle.documents:
            if one["kind"] == "Namespace" and self.cluster.get(key_of(one)) is None:
                self.cluster.apply(one)
                self.told("namespace", name=key_of(one).name)

    def _require_judge(self, journal: Journal) -> None:
        former = journal.released
        if former is None or former.revision == self.bundle.revision or self.judge is not None:
            return
        raise RefusedError(
            "a new version is judged beside the live one, and no figures of them are known",
            hint="--metrics URL of the Prometheus that scrapes both",
        )

    def checked(self, journal: Journal) -> None:
        """Let the server check every object, without changing any; a conflict shows itself now."""
        self.progress("the server checks every object")
        for one in self.bundle.documents:
            there = self.cluster.get(key_of(one))
            self._require_ours(one, there)
            self._apply(self._as_it_stands(one, there, journal), dry_run=True)

    def _require_ours(self, one: Document, there: Document | None) -> None:
        """RefusedError: it was there before, so that it could not be brought back."""
        owner, key = owner_of(there), key_of(one)
        if there is None or owner == self.bundle.project:
            return
        if owner:
            raise RefusedError(
                f"{key} belongs to the project {owner}",
                hint="each project needs names or a namespace of its own",
            )
        if key.kind not in KEEP and not self.take_over:
            raise RefusedError(
                f"{key} is there already, and casemate did not make it",
                hint=f"remove it, or hand it over: kubectl label {key.kind.lower()} {key.name}"
                f" {PROJECT}={self.bundle.project}",
            )

    def _as_it_stands(self, one: Document, there: Document | None, journal: Journal) -> Document:
        """A document as the live version leaves it: nothing is led away, no count is changed."""
        former = journal.released
        if REVISION in (one.get("spec", {}).get("selector") or {}) and one["kind"] == "Service":
            return one if former is None or there is None else towards(one, former.revision)
        if one in self.bundle.workloads() and there is not None:
            return with_count(one, there["spec"].get("replicas", 1))
        return one

    # what an earlier process left

    def _settled(self, journal: Journal) -> Journal:
        """Take back, or finish, a release that was interrupted; ours is gone on with."""
        pending = journal.pending
        if pending is None:
            return self.keeper.write(step="idle", created=[]) if journal.step != "idle" else journal
        if pending.bundle == self.bundle.digest and journal.step != "undo":
            self.progress(f"going on at step {journal.step}")
            return journal
        if journal.step not in FORWARD:
            self.progress(f"taking back revision {pending.revision}, which was interrupted")
            return self._undone(journal, "it was interrupted, and something else is applied now")
        bundle = self.kept.get(pending.bundle)
        if bundle is None:
            raise BackendError(
                f"the release of revision {pending.revision} was interrupted at step"
                f" {journal.step}, and its manifests are not kept here",
                hint=f"apply it again from where it was begun, by {pending.who}",
            )
        mine, self.bundle = self.bundle, bundle
        try:
            self._forward(journal)
        finally:
            self.bundle = mine
        return self.keeper.take(self.progress)

    # forward

    def _stands(self, journal: Journal) -> bool:
        released = journal.released
        return journal.pending is None and (
            released is not None and released.revision == self.bundle.revision
        )

    def _again(self, journal: Journal) -> Applied:
        """Only what stands around the workloads is another, or was changed."""
        is_same = journal.released is not None and journal.released.bundle == self.bundle.digest
        scaled = self.bundle.scaled()
        for one in self.bundle.documents:
            there = self.cluster.get(key_of(one))
            if key_of(one).name in scaled and there is not None:
                one = with_count(one, there["spec"].get("replicas", 1))  # noqa: PLW2901
            self._apply(one)
        digest = self.kept.put(self.bundle)
        self.objects.prune(journal.released, self.bundle)
        self.told("applied", bundle=digest, revision=self.bundle.revision)
        self.keeper.let_go(released=self._entry(digest), reason="")
        return self._result("unchanged" if is_same else "released")

    def _begun(self, journal: Journal) -> Journal:
        created = [
            key for key in map(key_of, self.bundle.documents) if self.cluster.get(key) is None
        ]
        digest = self.kept.put(self.bundle)
        entry = self._entry(digest)
        journal = self.keeper.write(step="prepare", pending=entry, created=created, reason="")
        self.told("begun", bundle=digest, images=self.bundle.images, **self._identity())
        return journal

    def _forward(self, journal: Journal) -> Applied:
        former = journal.released
        steps: list[tuple[Step, Callable[[Journal], str]]] = [
            ("prepare", self._prepare),
            ("place", self._place),
        ]
        if former is not None:
            steps += [("open", self._open), ("judge", self._judged), ("fill", self._fill)]
        steps += [("switch", self._switch), ("drain", self._drain)]
        names = [name for name, _ in steps]
        start = names.index(journal.step) if journal.step in names else 0
        if journal.step == "judge":
            start = names.index("open")  # what was counted until then is not known
        reason = ""
        for name, step in steps[start:]:
            journal = self.keeper.write(step=name)
            said = step(journal)
            reason = said if name == "judge" else reason
            self.told(name, **self._identity(), **({"found": said} if said else {}))
        self.objects.prune(journal.released, self.bundle)
        entry = journal.pending
        self.keeper.let_go(released=entry, reason="")
        self.told("released", **self._identity())
        return self._result("released", reason)

    def _prepare(self, journal: Journal) -> str:
        """All but what serves and what scales it."""
        later = [*self.bundle.workloads(), *self.bundle.scaled().values()]
        fresh = {str(key) for key in journal.created}
        for one in self.bundle.documents:
            if one in later:
                continue
            if one in self.bundle.routes() and str(key_of(one)) not in fresh:
                former = journal.released
                one = one if former is None else towards(one, former.revision)  # noqa: PLW2901
            self.progress(f"applying {key_of(one)}")
            self._apply(one)
        self.waiting.jobs(self.bundle.documents)
        return ""

    def _place(self, journal: Journal) -> str:
        """The new version: one pod beside the live ones, or all of them where nothing is live."""
        for one in self.bundle.workloads():
            count = self._count(one, journal)
            self._apply(with_count(one, count if journal.released is None else min(count, 1)))
        self.waiting.ready(self.bundle.workloads())
        return ""

    def _open(self, journal: Journal) -> str:
        """Requests go to both, as many pods as each has."""
        for one in self.bundle.routes():
            self._apply(towards(one, None))
        return ""

    def _judged(self, journal: Journal) -> str:
        if journal.released is None or self.judge is None:
            raise RefusedError("there is nothing to judge the new version by")
        began = self.clock()
        new = [named(name, self.bundle.revision) for name in self.bundle.served]
        live = self._live(journal.released)
        while True:
            seconds = self.clock() - began
            found = self.judge.look(self.bundle.namespace, new, live, seconds)
            if found.outcome == "passed":
                return f"no worse than revision {journal.released.revision}"
            if found.outcome == "worse" or seconds >= self.limits.judge:
                why = found.reason if found.outcome == "worse" else f"inconclusive: {found.reason}"
                raise RefusedError(
                    f"the new version is not released: {why}",
                    hint="everything is as it was; see the figures, then apply again",
                )
            self.progress(f"judging for {seconds:.0f} of {self.limits.judge:.0f} s: {found.reason}")
            self._pause()

    def _live(self, entry: Entry) -> list[str]:
        return [named(name, entry.revision) for name in self.bundle.served]

    def _fill(self, journal: Journal) -> str:
        """As many pods as shall serve."""
        for one in self.bundle.workloads():
            self._apply(with_count(one, self._count(one, journal)))
        self.waiting.ready(self.bundle.workloads())
        return ""

    def _switch(self, journal: Journal) -> str:
        for one in [*self.bundle.routes(), *self.bundle.scaled().values()]:
            self._apply(one)
        return ""

    def _drain(self, journal: Journal) -> str:
        """The former pods end what they have begun, and go."""
        former = journal.released
        if former is None or former.revision == self.bundle.revision:
            return ""
        self.progress(f"the former version ends in {self.limits.grace:.0f} s")
        end = self.clock() + self.limits.grace
        while self.clock() < end:
            self._pause()
        for name in self._live(former):
            key = self.objects.deployment(name)
            if self.cluster.get(key) is not None:
                self.cluster.merge(key, {"spec": {"replicas": 0}})
        return ""

    # back

    def _taken_back(self, error: BaseException) -> None:
        """Undo what had begun, after a fault; what cannot be undone now is told."""
        journal = self.keeper.now
        why = str(error) or "stopped from the keyboard"
        again = "the same command goes on or takes it back; `casemate deploy status` tells"
        try:
            if journal.pending is None:
                self.keeper.let_go()
            elif journal.step in FORWARD:
                # requests go to the new version: what is left is to end the former one
                self.keeper.write(owner="")
            else:
                self.progress("taking back what had begun")
                self._undone(journal, why)
                self.keeper.let_go(reason=why[:300])
        except (Error, KeyboardInterrupt) as second:
            if isinstance(error, Error):
                error.hint = f"taking it back failed too ({second}): {again}"
                return
            raise Interrupted(f"stopped at step {journal.step}", hint=again) from None
        if isinstance(error, KeyboardInterrupt):
            is_forward = journal.pending is not None and journal.step in FORWARD
            raise Interrupted(
                "stopped after the switch" if is_forward else "stopped; everything is as it was",
                hint=again if is_forward else "the same command begins anew",
            ) from None

    def _undone(self, journal: Journal, why: str) -> Journal:
        pending = journal.pending
        journal = self.keeper.write(step="undo")
        self.objects.undo(journal, self.bundle)
        if pending is not None:
            self.told(
                "rolled-back", revision=pending.revision, bundle=pending.bundle, reason=why[:300]
            )
        return self.keeper.write(step="idle", pending=None, created=[], reason=why[:300])

    # the cluster

    def _apply(self, one: Document, *, dry_run: bool = False) -> None:
        self.cluster.apply(one, dry_run=dry_run, force=self.take_over)

    def _count(self, one: Document, journal: Journal) -> int:
        """How many pods shall serve."""
        name = key_of(one).name
        scaler = self.bundle.scaled().get(name)
        if scaler is None:
            return int(one["spec"].get("replicas", 1))
        least = int(scaler["spec"].get("minReplicas", 1))
        if journal.released is None:
            return least
        base = name.removesuffix(f"-{self.bundle.revision}")
        there = self.cluster.get(self.objects.deployment(named(base, journal.released.revision)))
        return max(least, int(there["spec"].get("replicas", 1)) if there else least)

    def _pause(self) -> None:
        self.sleep(self.limits.poll)
        self.keeper.beat()

    def _entry(self, digest: str) -> Entry:
        return Entry(
            bundle=digest,
            revision=self.bundle.revision,
            model=self.bundle.model,
            images=self.bundle.images,
            who=self.who,
            since=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )

    def _identity(self) -> dict[str, Any]:
        return {"revision": self.bundle.revision, "model": self.bundle.model}

    def _result(self, how: Literal["released", "unchanged"], reason: str = "") -> Applied:
        return Applied(
            how=how,
            namespace=self.bundle.namespace,
            revision=self.bundle.revision,
            model=self.bundle.model,
            bundle=self.bundle.digest,
            objects=len(self.bundle.documents),
            images=self.bundle.images,
            reason=reason,
        )
