"""Two-person release: a signed statement that somebody who did not train the model wants it used
for a stage.

A model that passed its gates is signed by the run. Where `[release] approvals` asks for it, nothing
serves or exports the model before that many people have approved it; each approval is an in-toto
statement over the model's bundle, signed by the project.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from casemate.core.clock import Clock
from casemate.core.errors import ConfigError, RefusedError, VerificationError
from casemate.core.signatures import Signer, Verifier, read_envelope, subjects_of
from casemate.core.store import METADATA, Store, explained
from casemate.core.types import Release
from casemate.stages.release.admission import APPROVAL

PREDICATE = APPROVAL
MAX_REASON = 500
"""Characters: a reason is a sentence, and every reader of the log gets it."""
APPROVALS = sa.Table(
    "approval",
    METADATA,
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("stage", sa.String, primary_key=True),
    sa.Column("principal", sa.String, primary_key=True),
    sa.Column("time", sa.String, nullable=False),
    sa.Column("statement", sa.LargeBinary, nullable=False),
    info=explained("model"),
)


@dataclass(frozen=True)
class Approval:
    """One person's verified word; made by `Approvals.of` only."""

    principal: str
    stage: str
    time: str
    reason: str


class Approvals:
    """Signs, stores and verifies approvals."""

    def __init__(self, store: Store, clock: Clock, verifier: Verifier) -> None:
        self.store, self.clock, self.verifier = store, clock, verifier

    def sign(
        self, signer: Signer, release: Release, stage: str, principal: str, reason: str
    ) -> tuple[str, bytes]:
        """(time, signed statement) of an approval; signing is logged, so it is done outside of
        transactions.

        Raises:
            RefusedError: the model was not signed by its run. ConfigError: the reason is empty or
                too long.
        """
        if release.bundle is None:
            raise RefusedError(
                f"{release.model}@{release.model_version} was {release.verdict.outcome} and is not"
                " signed",
                hint="improve the model",
            )
        if not reason.strip() or len(reason) > MAX_REASON:
            raise ConfigError(
                f"a reason of 1 to {MAX_REASON} characters is needed", hint="--reason '...'"
            )
        time = self.clock.now().isoformat()
        said = {
            "model": release.model,
            "version": release.model_version,
            "stage": stage,
            "approver": principal,
            "reason": reason.strip(),
            "time": time,
        }
        return time, signer.sign_statement({"bundle": release.bundle}, PREDICATE, said)

    def add(
        self,
        tx: sa.Connection,
        release: Release,
        stage: str,
        principal: str,
        time: str,
        statement: bytes,
    ) -> None:
        """Store a signed approval; ConfigError when this person has approved already."""
        key = {
            "model": release.model,
            "version": release.model_version,
            "stage": stage,
            "principal": principal,
        }
        try:
            tx.execute(APPROVALS.insert().values(**key, time=time, statement=statement))
        except sa.exc.IntegrityError as error:
            raise ConfigError(
                f"{principal} has approved {release.model}@{release.model_version} for {stage}"
                " already"
            ) from error

    def of(self, release: Release) -> list[Approval]:
        """Every approval of a model, its signatures verified; VerificationError when one was
        changed or belongs to another model.
        """
        return [self._verified(release, row) for row in self._rows(release)]

    def statements(self, release: Release) -> bytes:
        """The signed statements behind `of`, one a line, for whoever gets the model."""
        rows = self._rows(release)
        for row in rows:
            self._verified(release, row)
        return b"".join(row.statement + b"\n" for row in rows)

    def _rows(self, release: Release) -> Sequence[sa.Row[Any]]:
        query = sa.select(APPROVALS).where(
            APPROVALS.c.model == release.model, APPROVALS.c.version == release.model_version
        )
        with self.store.reading() as tx:
            return tx.execute(query.order_by(APPROVALS.c.time)).all()

    def _verified(self, release: Release, row: sa.Row[Any]) -> Approval:
        statement = self.verifier.verify_statement(read_envelope(row.statement), PREDICATE)
        said = statement["predicate"]
        told = (
            said.get("model"),
            said.get("version"),
            said.get("stage"),
            said.get("approver"),
            said.get("time"),
        )
        if subjects_of(statement) != {"bundle": release.bundle} or told != (
            row.model,
            row.version,
            row.stage,
            row.principal,
            row.time,
        ):
            raise VerificationError(
                f"an approval of {release.model}@{release.model_version} does not fit the model",
                hint="treat it as tampering",
            )
        return Approval(row.principal, row.stage, row.time, str(said["reason"]))

    def require(
        self, release: Release, stage: str, count: int, excluded: Callable[[], set[str]]
    ) -> None:
        """RefusedError unless `count` different people other than `excluded` have approved the
        model for `stage`.
        """
        if count == 0:
            return
        people = {
            approval.principal for approval in self.of(release) if approval.stage == stage
        } - excluded()
        if len(people) < count:
            raise RefusedError(
                f"{release.model}@{release.model_version} has {len(people)} of {count} approvals"
                f" for {stage}",
                hint=(
                    "somebody with the role approver, who did not train it: casemate model approve"
                ),
            )
