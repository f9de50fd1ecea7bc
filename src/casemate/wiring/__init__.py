"""What a project is built from: the only place where a back end is chosen, and where parts meet.

`Wiring` builds each part when it is first asked for and does nothing with it: what can be done
stands in `operations/`. What reads tables is imported where it is used: whoever lists runs or keys
waits for none of it (`tests/unit/project/test_imports.py`).
"""

import datetime
import functools
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from casemate.config import FILE_NAME, NoticeTable, StoreTable
from casemate.core.errors import ConfigError
from casemate.wiring.controls import CATALOG, STATE, Controls, log_origin

if TYPE_CHECKING:
    from casemate.controls.access.usage import Usage
    from casemate.controls.audit.decisions import Decisions
    from casemate.controls.audit.feedback import Feedback
    from casemate.controls.audit.people import Told
    from casemate.controls.federation.rounds import Rounds
    from casemate.controls.keys.objects import ObjectStore
    from casemate.controls.keys.recipients import Recipients
    from casemate.controls.privacy.budget import Ledger
    from casemate.controls.privacy.consents import Consents
    from casemate.controls.privacy.erasures import Erased
    from casemate.core.blobs import Blobs
    from casemate.core.engine import Engine
    from casemate.core.history import History
    from casemate.core.outbox import Message, Outbox
    from casemate.respond.findings import Findings
    from casemate.respond.holds import Holds
    from casemate.respond.states import Incident
    from casemate.respond.trackers import Reference, Tracker
    from casemate.stages.data.review import Reviews
    from casemate.stages.release.approval import Approvals
    from casemate.stages.release.registry import Registry
    from casemate.stages.release.retrainings import Retrainings
    from casemate.stages.release.rollout import Rollouts
    from casemate.stages.release.waiver import Waivers

__all__ = ["CATALOG", "STATE", "Wiring", "log_origin"]

ENDS = ("run:passed", "run:refused", "run:failed")
"""Events after which checkpoints are cosigned and copied."""


class Wiring(Controls):
    """A project's parts: configuration, keys, catalogue, log, registry, policy."""

    @cached_property
    def objects(self) -> "ObjectStore":
        """The store of sealed objects: model files and evidence, by digest."""
        from casemate.controls.keys.objects import ObjectStore

        return ObjectStore(self.blobs(self.config.store), self.provider)

    def blobs(self, store: StoreTable) -> "Blobs":
        """Where sealed objects lie according to `store`."""
        from casemate.core.blobs import S3Place, open_blobs
        from casemate.core.blobs.client import split_url

        keys = {
            name: self.read_secret(value)
            for name in ("access_key", "secret_key")
            if (value := getattr(store, name)) is not None
        }
        place = (
            S3Place(*split_url(store.objects), store.endpoint, store.region, **keys)
            if store.objects
            else None
        )
        return open_blobs(place, self.state / "objects", self.state / "tmp")

    @cached_property
    def registry(self) -> "Registry":
        """The registry of models that were released; with `[serve] release` the one model that was
        handed over.
        """
        if not self.handed:
            return self.made
        from casemate.stages.release.admission import Rules
        from casemate.stages.release.handed import Handed, Place

        table, rules = self.config.serve, self.config.release
        place = Place(
            self.root / table.release,
            [self.root / key for key in table.trusted],
            Rules(
                approvals=rules.approvals,
                stage=table.stage,
                withdrawn_within=None
                if table.withdrawn_days is None
                else datetime.timedelta(days=table.withdrawn_days),
            ),
        )
        prove = self.signatures.prove
        return Handed(self.database, self.objects, self.signer.verifier, prove, self.clock, place)

    @property
    def made(self) -> "Registry":
        """The registry of models that were made here, whatever is served."""
        from casemate.stages.release.registry import Registry

        prove = self.signatures.prove
        return Registry(self.database, self.objects, self.signer.verifier, prove)

    @property
    def handed(self) -> bool:
        """Whether what is served was handed over, and nothing is trained here."""
        return bool(self.config.serve.release)

    def require_own(self) -> None:
        """ConfigError where what is served was handed over: which version that is, and what becomes
        of it, is its owner's.
        """
        if self.handed:
            raise ConfigError(
                "[serve] release: this project serves a model that others made, and makes none",
                hint="do it in the project that made it",
            )

    @property
    def rollouts(self) -> "Rollouts":
        """Which versions are served to whom."""
        if self.handed:
            from casemate.stages.release.handed import Unmoved

            return Unmoved(self.database)
        from casemate.stages.release.rollout import Rollouts

        return Rollouts(self.database)

    @property
    def federation(self) -> "Rounds":
        """Charters that were approved, and rounds that were answered or gathered."""
        from casemate.controls.federation.rounds import Rounds

        return Rounds(self.database, self.clock)

    @property
    def usage(self) -> "Usage":
        """What callers have used of models."""
        from casemate.controls.access.usage import Usage

        return Usage(self.database)

    @property
    def decisions(self) -> "Decisions":
        """What served models answered."""
        from casemate.controls.audit.decisions import Decisions

        return Decisions(self.log)

    @property
    def told(self) -> "Told":
        """What was told about people."""
        from casemate.controls.audit.people import Told

        return Told(self.log)

    @property
    def feedback_kept(self) -> "Feedback":
        """What was said of answers."""
        from casemate.controls.audit.feedback import Feedback

        return Feedback(self.decisions)

    @property
    def approvals(self) -> "Approvals":
        """Who approved which model."""
        from casemate.stages.release.approval import Approvals

        return Approvals(self.database, self.clock, self.signer.verifier)

    @property
    def ledger(self) -> "Ledger":
        """What data sets have spent of their privacy budgets."""
        from casemate.controls.privacy.budget import Ledger

        return Ledger(self.database, self.clock)

    @property
    def consents(self) -> "Consents":
        """The register of consent."""
        from casemate.controls.privacy.consents import Consents

        return Consents(self.database)

    def erased(self) -> "Erased | None":
        """Whose rows must not be taken now; None where nobody was erased.

        Raises:
            VerificationError: the register of erasures was changed.
        """
        found = self.erasures.erased()
        return found if found.digests else None

    @property
    def recipients(self) -> "Recipients":
        """Who can open backups."""
        from casemate.controls.keys.recipients import Recipients

        return Recipients(self.database, self.clock)

    @property
    def reviews(self) -> "Reviews":
        """What people decided about rows under suspicion."""
        from casemate.stages.data.review import Reviews

        return Reviews(self.database, self.clock)

    @property
    def waivers(self) -> "Waivers":
        """Gates that models may pass without, for a time."""
        from casemate.stages.release.waiver import Waivers

        return Waivers(self.database, self.clock, self.signer.verifier)

    @property
    def findings_kept(self) -> "Findings":
        """What scans found."""
        from casemate.respond.findings import Findings

        return Findings(self.database, self.clock)

    @property
    def holds_kept(self) -> "Holds":
        """What must not happen until a person says so."""
        from casemate.respond.holds import Holds

        return Holds(self.database, self.clock)

    @property
    def retrainings(self) -> "Retrainings":
        """What became of retrainings."""
        from casemate.stages.release.retrainings import Retrainings

        return Retrainings(self.database, self.clock)

    @cached_property
    def outbox(self) -> "Outbox":
        """What is to leave, and the receivers of today's configuration."""
        from casemate.core.outbox import DeliveryPolicy, Outbox, Route
        from casemate.respond.telling import EVENTS

        limits = self.config.outbox
        routes = [
            Route(name, tuple(notice.on), self._way(notice))
            for name, notice in self.config.notices.items()
        ]
        routes += [
            Route(f"tickets-{name}", EVENTS, functools.partial(self._ticket, name))
            for name in self.config.trackers
        ]
        if self.config.audit.copies:
            routes.append(Route("checkpoint-copies", ENDS, self._copy_checkpoint))
        if self.config.audit.witnesses:
            routes.append(Route("witnesses", ENDS, self._cosign_checkpoint))
        return Outbox(
            self.database,
            self.clock,
            routes,
            DeliveryPolicy(limits.attempts, limits.backoff, limits.timeout),
        )

    def tracker(self, name: str, seconds: float | None = None) -> "Tracker":
        """The tracker of `[trackers.NAME]`; ConfigError: there is none.

        Args:
            name: of the table.
            seconds: after which nothing more is asked of it; default: never.
        """
        from casemate.respond.trackers import open_tracker

        table = self.config.trackers.get(name)
        if table is None:
            known = ", ".join(self.config.trackers) or "none"
            raise ConfigError(
                f"there is no [trackers.{name}]",
                hint=f"{FILE_NAME} has: {known}",
            )
        return open_tracker(
            name, table, self.database, self.clock, self.root, self.read_secret, seconds
        )

    def _ticket(self, name: str, message: "Message") -> None:
        from casemate.respond import tables
        from casemate.respond.telling import GRADES, tell, ticket_key

        number = int(message.content["incident"])
        with self.database.reading() as tx:
            found = tables.incident(tx, number)
        is_grave = GRADES[found.severity] in self.config.trackers[name].severities
        if is_grave or self.ticket(name, number) is not None:
            key = ticket_key(self.config.project.id, number)
            tell(self.tracker(name), key, message, found)

    def ticket(self, name: str, number: int) -> "Reference | None":
        """The ticket that an incident has in a tracker, as far as is known here."""
        from casemate.respond.telling import ticket_key
        from casemate.respond.trackers.guard import mark
        from casemate.respond.trackers.remembered import Tickets

        key = ticket_key(self.config.project.id, number)
        return Tickets(self.database, self.clock, name).made(mark(key))

    def open_ticket(self, name: str, incident: "Incident") -> None:
        """Make the ticket of an incident, whatever its severity, if there is none."""
        from casemate.respond.telling import ticket_key, ticket_of

        key = ticket_key(self.config.project.id, incident.id)
        self.tracker(name).create(key, ticket_of(incident))

    def _copy_checkpoint(self, _: "Message") -> None:
        self.publication.copy()

    def _cosign_checkpoint(self, _: "Message") -> None:
        self.publication.judge(self.publication.cosign())

    def _way(self, notice: NoticeTable) -> "Callable[[Message], None]":
        from casemate.core.outbox.ways import way

        secret = (
            None if notice.secret is None else functools.partial(self.read_secret, notice.secret)
        )
        return way(
            notice.kind,
            notice.to,
            self.root,
            self.config.outbox.timeout,
            notice.server,
            notice.sender,
            secret,
        )

    @property
    def history(self) -> "History":
        """What is known of runs; it begins none, so it needs no way out for their messages."""
        from casemate.core.history import History

        return History(self.database, self.log, self.clock, self.state / "runs")

    @cached_property
    def engine(self) -> "Engine":
        """The engine that runs steps, resumes them and commits what they did."""
        from casemate.core.engine import Engine
        from casemate.core.steps import RetryPolicy

        run = self.config.run
        retry_policy = RetryPolicy(
            run.retries,
            run.backoff,
            {str(stage): seconds for stage, seconds in run.timeouts.items()},
            None if run.memory_gb is None else int(run.memory_gb * 2**30),
        )
        return Engine(
            self.database, self.log, self.clock, self.state / "runs", self.outbox, retry_policy
        )
