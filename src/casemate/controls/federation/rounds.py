"""Which charters were approved here, and what was asked and answered in which round.

A site writes its answer down before it leaves: asked again, it answers the same, and nothing is
computed or paid for twice. A coordinator writes down what came of a round before it asks the next:
killed in between, it goes on from there.
"""

import sqlalchemy as sa

from casemate.controls.federation import COORDINATOR
from casemate.core.clock import Clock
from casemate.core.errors import ConfigError, VerificationError
from casemate.core.store import METADATA, Store, explained
from casemate.core.types import Record

CHARTERS = sa.Table(
    "federation",
    METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("digest", sa.String, nullable=False),
    # the signed charter, JSON
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("since", sa.String, nullable=False),
    sa.Column("principal", sa.String, nullable=False),
    # whoever could write one would have this project's rows asked about
    info=explained(),
)
ROUNDS = sa.Table(
    "federation_round",
    METADATA,
    sa.Column("charter", sa.String, primary_key=True),
    # a job's digest
    sa.Column("job", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    # whose answer it is; whoever leads may be a site too
    sa.Column("site", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("question", sa.String, nullable=False),
    # of a sealed object: a site's own answer, or what a coordinator made of all
    sa.Column("content", sa.String, nullable=False),
    # a RoundRecord, JSON
    sa.Column("record", sa.LargeBinary, nullable=False),
    sa.Column("time", sa.String, nullable=False),
    # whoever could take one away would have it asked again, and its day count less
    info=explained("charter", "job"),
)


class RoundTwice(VerificationError):
    """A round is asked for again, with another question."""

    code = "CM-ROUND-TWICE"
    who = "the coordinator of the federation: a round has one question"


class Approved(Record, frozen=True, kw_only=True):
    """A charter that was approved here."""

    name: str
    digest: str
    content: bytes
    """Signed by its coordinator, JSON."""
    since: str
    """RFC 3339."""
    principal: str
    """Who approved it."""


class Kept(Record, frozen=True, kw_only=True):
    """A round that was answered, or gathered, here."""

    charter: str
    """Its digest."""
    job: str
    """Its digest."""
    number: int
    question: str
    """Its digest."""
    content: str
    """Digest of the sealed object with what came of it."""
    record: bytes
    """A `messages.RoundRecord`, JSON."""
    time: str
    """RFC 3339."""
    site: int = COORDINATOR
    """Number of the site whose answer it is; `COORDINATOR`: what a coordinator made of all."""


class Rounds:
    """Reads and writes both tables."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock

    def charters(self) -> list[Approved]:
        """All that were approved, the oldest first."""
        query = sa.select(CHARTERS).order_by(CHARTERS.c.since, CHARTERS.c.name)
        with self.store.reading() as tx:
            return [Approved(**row) for row in tx.execute(query).mappings()]

    def charter(self, name: str) -> Approved:
        """The approved charter of this name; ConfigError: there is none."""
        found = next((one for one in self.charters() if one.name == name), None)
        if found is None:
            raise ConfigError(
                f"no federation {name!r} was approved here",
                hint="casemate federate approve CHARTER, with the file of its coordinator",
            )
        return found

    def approve(
        self, tx: sa.Connection, name: str, digest: str, content: bytes, principal: str
    ) -> None:
        """Keep a charter; one of the same name before it counts no longer."""
        tx.execute(CHARTERS.delete().where(CHARTERS.c.name == name))
        since = self.clock.now().isoformat(timespec="seconds")
        row = {
            "name": name, "digest": digest, "content": content, "since": since,
            "principal": principal,
        }  # fmt: skip
        tx.execute(CHARTERS.insert().values(**row))

    def leave(self, tx: sa.Connection, name: str) -> None:
        """Keep it no longer; what was answered under it stays on record."""
        tx.execute(CHARTERS.delete().where(CHARTERS.c.name == name))

    def of(self, charter: str, job: str | None = None, site: int | None = None) -> list[Kept]:
        """Every round under a charter, or of one job or site, in order."""
        query = sa.select(ROUNDS).where(ROUNDS.c.charter == charter)
        if job is not None:
            query = query.where(ROUNDS.c.job == job)
        if site is not None:
            query = query.where(ROUNDS.c.site == site)
        query = query.order_by(ROUNDS.c.time, ROUNDS.c.job, ROUNDS.c.number)
        with self.store.reading() as tx:
            return [Kept(**row) for row in tx.execute(query).mappings()]

    def earlier(
        self,
        tx: sa.Connection,
        charter: str,
        job: str,
        number: int,
        question: str,
        site: int = COORDINATOR,
    ) -> Kept | None:
        """What is kept of a round with just this question; None: nothing.

        Raises:
            RoundTwice: it was asked with another question, or a later round came before it.
        """
        mine = sa.select(ROUNDS).where(
            ROUNDS.c.charter == charter, ROUNDS.c.job == job, ROUNDS.c.site == site
        )
        rows = [Kept(**row) for row in tx.execute(mine).mappings()]
        found = next((one for one in rows if one.number == number), None)
        if found is not None and found.question != question:
            raise RoundTwice(
                f"round {number} was answered already, and this asks something else in its name",
                hint="a round that came to nothing is asked again as it was, or under a new job",
            )
        if found is None and any(one.number > number for one in rows):
            raise RoundTwice(
                f"round {number} comes after a later one", hint="rounds do not go back"
            )
        return found

    def keep(self, tx: sa.Connection, kept: Kept) -> None:
        """Write a round down."""
        tx.execute(
            ROUNDS.insert().values(**{name: getattr(kept, name) for name in Kept.__struct_fields__})
        )

    def amend(self, tx: sa.Connection, kept: Kept, record: bytes) -> None:
        """Say more of a round that was kept: what others made of the answer, or who was heard."""
        mine = (
            ROUNDS.c.charter == kept.charter,
            ROUNDS.c.job == kept.job,
            ROUNDS.c.number == kept.number,
            ROUNDS.c.site == kept.site,
        )
        tx.execute(ROUNDS.update().where(*mine).values(record=record))

    def since(self, tx: sa.Connection, moment: str) -> int:
        """How many rounds sites answered since an RFC 3339 moment in UTC, under all charters."""
        query = (
            sa.select(sa.func.count())
            .select_from(ROUNDS)
            .where(ROUNDS.c.time >= moment, ROUNDS.c.site != COORDINATOR)
        )
        return int(tx.execute(query).scalar_one())
