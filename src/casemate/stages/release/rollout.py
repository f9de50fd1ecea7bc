"""Which version of a model is served to whom: live, as a canary to some, or as a shadow to nobody;
and what was live before.
"""

import datetime
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from casemate.core.errors import ConfigError
from casemate.core.store import METADATA, Store, explained

Part = Literal["live", "canary", "shadow"]
RELEASES = sa.Table(
    "model_release",
    METADATA,
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("part", sa.String, nullable=False),
    sa.Column("share", sa.Float, nullable=False),
    sa.Column("principals", sa.JSON, nullable=False),
    sa.Column("since", sa.String, nullable=False),
    sa.Column("principal", sa.String, nullable=False),
    sa.Column("former", sa.Integer),
    info=explained("model"),
)


@dataclass(frozen=True)
class Released:
    """One version that is served."""

    model: str
    version: int
    part: Part
    share: float
    """Of a canary: the share of callers' requests that it answers, 0 to 1."""
    principals: tuple[str, ...]
    """Of a canary: who always gets it."""
    since: str
    """ISO 8601."""
    principal: str
    """Who released it."""
    former: int | None
    """Of the live version: what was live before."""

    @property
    def reference(self) -> str:
        """How this version is asked for, `NAME@VERSION`."""
        return f"{self.model}@{self.version}"


class Rollouts:
    """Reads and changes what is released."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def all(self) -> list[Released]:
        """Everything that is released."""
        with self.store.reading() as tx:
            return [
                _released(row)
                for row in tx.execute(
                    sa.select(RELEASES).order_by(RELEASES.c.model, RELEASES.c.version)
                ).mappings()
            ]

    def of(self, tx: sa.Connection, model: str) -> dict[Part, Released]:
        """What is released of one model."""
        rows = tx.execute(sa.select(RELEASES).where(RELEASES.c.model == model)).mappings()
        return {released.part: released for released in map(_released, rows)}

    def promote(
        self,
        tx: sa.Connection,
        model: str,
        version: int,
        part: Part,
        share: float,
        principals: list[str],
        who: str,
        now: datetime.datetime,
    ) -> None:
        """Serve a version as `part` from now on; it replaces what was there. Going live ends its
        canary or shadow.
        """
        current = self.of(tx, model)
        live = current.get("live")
        if live is not None and live.version == version:
            hint = (
                "casemate model list" if part == "live" else "a canary or shadow is another version"
            )
            raise ConfigError(f"{live.reference} is live already", hint=hint)
        former = live.version if live is not None and part == "live" else None
        gone = sa.or_(RELEASES.c.part == part, RELEASES.c.version == version)
        tx.execute(RELEASES.delete().where(RELEASES.c.model == model, gone))
        row = {
            "part": part,
            "share": share,
            "principals": principals,
            "since": now.isoformat(),
            "principal": who,
            "former": former,
        }
        tx.execute(RELEASES.insert().values(model=model, version=version, **row))

    def rollback(
        self,
        tx: sa.Connection,
        model: str,
        who: str,
        now: datetime.datetime,
        *,
        part: Part | None = None,
        version: int | None = None,
    ) -> tuple[Released, int | None]:
        """Take the canary back, else the live version; returns (what is gone, the version that is
        live instead).

        Args:
            tx: a write transaction.
            model: its name.
            who: takes it back.
            now: when.
            part: what to take back; default: whatever is most daring.
            version: only this one.

        Raises:
            ConfigError: there is nothing to take back, or nothing to go back to.
        """
        current = self.of(tx, model)
        parts: tuple[Part, ...] = ("canary", "shadow", "live") if part is None else (part,)
        gone = next((current[one] for one in parts if one in current), None)
        if gone is None or version not in (None, gone.version):
            raise ConfigError(
                f"nothing of {model!r} is released", hint="casemate model promote NAME@VERSION"
            )
        if gone.part == "live" and gone.former is None:
            raise ConfigError(
                f"{gone.reference} is the first that was promoted: there is nothing to go back to",
                hint="promote another version",
            )
        tx.execute(
            RELEASES.delete().where(RELEASES.c.model == model, RELEASES.c.version == gone.version)
        )
        if gone.part == "live":
            former: dict[str, Any] = {
                "model": model,
                "version": gone.former,
                "part": "live",
                "share": 1.0,
                "principals": [],
            }
            tx.execute(
                RELEASES.insert().values(
                    **former, since=now.isoformat(), principal=who, former=None
                )
            )
        return gone, gone.former


def _released(row: Any) -> Released:
    return Released(**{**row, "principals": tuple(row["principals"])})
