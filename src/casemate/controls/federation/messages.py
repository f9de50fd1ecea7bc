"""What is said between a coordinator and its sites: msgpack, bounded, with a version.

A site dials out and asks for its next turn; the coordinator never dials. Each turn is one step of
one attempt at one round, and is answered once. What a coordinator asks of a round is a `Question`,
whose digest both sides record: the same round with another question is refused.

With masks a question brings terms, and the round has four further steps (see
`ml.federated.masking`). The terms' session is `session_of`: sites sign it, so a round in which two
were asked different questions comes to nothing.

A job is called by its id in messages, and by its digest in what is kept and recorded: another job
under the same id is another one.
"""

from typing import Annotated, Literal

import msgspec

from casemate.controls.federation import COORDINATOR
from casemate.core.digest import sha256, sha256_record
from casemate.core.types import NoiseUnit, Record
from casemate.ml.federated import masking
from casemate.ml.federated.bins import CELLS
from casemate.ml.federated.encoding import Limits, Scale
from casemate.ml.federated.local import LocalPlan
from casemate.ml.federated.updates import Layout, Update

VERSION = 1
MOST = 2**29
"""Bytes of one message: an update of 50 million numbers, and a little more."""
PATH = "/federation/1"
JOB_TYPE = "application/vnd.casemate.federation-job+json"
INTRODUCTION_TYPE = "application/vnd.casemate.federation-introduction+json"
RECORD_TYPE = "application/vnd.casemate.federation-record+json"
What = Literal["moments", "train", "sums", "gram", "counts", "splits", "leaves"]
"""Sums of numeric columns; a difference of weights; losses, slopes and second derivatives of a
logistic regression; sums for least squares; of boosted trees rows by cells of numbers, and
derivatives by nodes and bins; with noise, derivatives by the leaves of a tree that was drawn.
"""
Cell = Annotated[int, msgspec.Meta(ge=0, lt=CELLS)]


class Job(Record, frozen=True, kw_only=True):
    """What a coordinator wants to have learnt; signed by it, judged by each site's own policy."""

    id: str
    """32 hexadecimal digits, drawn."""
    charter: str
    """Digest of the charter."""
    entry: str
    """`FILE:FUNCTION` in `code`."""
    code: dict[str, bytes]
    """Files by relative path."""
    code_digest: str
    """As `training_code.digest_of` has it; a site computes it anew."""
    estimator: str
    """Class of the model's last step, such as `LogisticRegression`."""
    layout: Layout
    """Of its weights; of a quantity and of boosted trees empty."""
    settings: dict[str, float]
    """Of a linear model: `C` or `alpha`; of boosted trees `Growth.settings`."""
    limits: Limits
    """Of the features, from the charter."""
    rule: str
    """`exact`, or one of `rules.RULES`."""
    combine: str
    """One of `robust.COMBINERS`; for the record, the coordinator does it."""
    plan: LocalPlan
    """What a site does in a round."""
    rounds: int
    """At most."""
    masked: bool
    """Whether the coordinator sees sums only."""
    groups: int
    """Of sites that are summed apart."""
    epsilon: float
    """That each site spends in all rounds together; 0: no noise."""
    delta: float
    """At which."""
    seed: int
    versions: dict[str, str]
    """Of packages that compute, at the coordinator."""
    begun: str
    """RFC 3339."""
    version: int = VERSION

    @property
    def digest(self) -> str:
        """SHA-256 of the job, hexadecimal: under which its rounds are kept and recorded."""
        return sha256_record(self)


class Introduction(Record, frozen=True, kw_only=True):
    """A site's key for one job, signed by its project: other sites know it by its card."""

    charter: str
    job: str
    site: int
    key: bytes
    """Ed25519 public key, 32 bytes; the private half ends with the process."""


class Question(Record, frozen=True, kw_only=True):
    """What a round asks of every site alike."""

    job: str
    round: int
    """From 1; sums of numeric columns count as one."""
    what: What
    size: int
    """Numbers that are expected; of differences under masks one more, the weight."""
    most: float
    """Largest absolute value of one; a site answers nothing that does not fit."""
    full: float = 0.0
    """Of differences under masks: rows that weigh 1. A site with fewer weighs its share, one with
    more no more; 0: all weigh 1. It is said to all alike: with weights of its own for each site a
    coordinator could make the sum that of one.
    """
    weights: bytes = b""
    """Float64, little-endian; of boosted trees the trees as far as they are grown."""
    control: bytes = b""
    """SCAFFOLD's, float64."""
    scale: Scale | None = None
    """Of numeric features, once it is known."""
    cuts: list[list[Cell]] = []
    """Of boosted trees, once they are known: how each number is cut, see `bins.Bins`."""

    @property
    def digest(self) -> str:
        """SHA-256, hexadecimal."""
        return sha256(msgspec.msgpack.encode(self))


def session_of(question: Question, attempt: int) -> str:
    """Session of the terms of a masked round: all who sign it were asked the same."""
    return sha256(f"{question.digest} {attempt}".encode())


def weight_of(question: Question, rows: int) -> float:
    """By which a site multiplies a difference under masks."""
    return min(rows / question.full, 1.0) if question.full > 0 else 1.0


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """Tagged by the name of its class."""


class Turn(_Message, frozen=True):
    """Which answer is asked for; counted once."""

    job: str
    round: int
    attempt: int
    """From 1: a round that came to nothing is tried again with other masks, under a number that is
    higher than all before, also of a coordinator that was started again. A site helps to open one
    sum of a round: once a group's sum was opened, it is of the same sites in each later attempt.
    """
    step: int
    """0: the question; 1 to 4 as in `masking`."""


# What a coordinator says


class Welcome(_Message, frozen=True):
    """The job, and under which number this site is known."""

    site: int
    job: bytes
    """A signed `Job`."""
    version: int = VERSION


class Ask(_Message, frozen=True):
    """Step 0: the question; with terms its answer is an advert, else an update."""

    turn: Turn
    question: Question
    terms: masking.Terms | None = None
    introductions: list[bytes] = []
    """With terms: of the sites of this sum, signed."""


class Roster(_Message, frozen=True):
    """Step 1: who takes part; its answer is what is sealed for each."""

    turn: Turn
    adverts: list[masking.Advert]


class Hand(_Message, frozen=True):
    """Step 2: what others sealed for this site; its answer is the masked update."""

    turn: Turn
    sealed: list[masking.Sealed]


class Heard(_Message, frozen=True):
    """Step 3: whose updates the sum will hold; its answer is an agreement."""

    turn: Turn
    heard: list[int]


class Reveal(_Message, frozen=True):
    """Step 4: who agreed; its answer is what takes the masks off."""

    turn: Turn
    agreements: list[masking.Agreement]


class Wait(_Message, frozen=True):
    """Nothing yet: ask again."""


class Told(_Message, frozen=True):
    """What became of an answer of this site in a round."""

    job: str
    round: int
    taken: bool
    why: str
    """Why it was not taken; else empty."""


class Over(_Message, frozen=True):
    """The job has ended."""

    record: bytes
    """A signed record of its rounds; empty where nothing came of it."""
    why: str
    """Why nothing came of it; else empty."""


class No(_Message, frozen=True):
    """A request that is not taken; nothing changes."""

    why: str


# What a site says


class Hello(_Message, frozen=True):
    """A site has come."""

    charter: str
    """Digest of the charter that it approved."""
    versions: dict[str, str]
    """Of packages that compute."""
    version: int = VERSION


class Ready(_Message, frozen=True):
    """It takes the job."""

    job: str
    introduction: bytes
    """A signed `Introduction`."""
    rows: int
    """That it would train on; 0 where noise covers that too."""


class Next(_Message, frozen=True):
    """What is its next turn? The coordinator may take some seconds to say."""

    job: str


class Given(_Message, frozen=True):
    """The answer to a turn."""

    turn: Turn
    update: Update | None = None
    """Plain: a difference of weights, or sums, as the one array `sums`."""
    control: bytes = b""
    """SCAFFOLD's difference, float64."""
    advert: masking.Advert | None = None
    sealed: list[masking.Sealed] = []
    masked: masking.Masked | None = None
    agreement: masking.Agreement | None = None
    revealed: masking.Revealed | None = None


class Cannot(_Message, frozen=True):
    """A site does not answer a job or a turn, and says no more than why."""

    job: str
    round: int
    """0: the job as a whole."""
    code: str
    """An error's code, such as `CM-SITE-POLICY`."""
    why: Annotated[str, msgspec.Meta(max_length=500)]
    sealer: int | None = None
    """Under masks: the site that sealed what this one cannot open."""


FromCoordinator = Welcome | Ask | Roster | Hand | Heard | Reveal | Wait | Told | Over | No
FromSite = Hello | Ready | Next | Given | Cannot


def job_of(message: FromSite) -> str:
    """The job that a site speaks of; of a greeting none."""
    if isinstance(message, Given):
        return message.turn.job
    return message.job if isinstance(message, Ready | Next | Cannot) else ""


# What is recorded


class RoundRecord(Record, frozen=True, kw_only=True):
    """One round, as whoever keeps it saw it."""

    number: int
    what: What
    question: str
    """Digest of the question."""
    answers: dict[int, str]
    """By site: SHA-256 of what it answered (of the update, or of the masked one, as msgpack); a
    site's own record has its own alone.
    """
    refused: dict[int, str] = {}
    """By site: why its answer was not taken."""
    heard: list[int] = []
    """Under masks: whose answers are in the sum that was opened; a round has one such list."""
    combined: str = ""
    """SHA-256 of what came of it, float64; a site does not know it."""
    time: str = ""
    """RFC 3339."""


class JobRecord(Record, frozen=True, kw_only=True):
    """A job and its rounds, as one party's log has them; signed by that party."""

    charter: str
    job: str
    """Digest of the signed job's payload."""
    party: str
    """Fingerprint of the card of whoever keeps it."""
    site: int = COORDINATOR
    """Its number, where it is the record of a site."""
    rounds: list[RoundRecord]
    model: str = ""
    """SHA-256 of the model's file; of a site's own record empty."""
    sites: list[str] = []
    """Fingerprints of the sites that took part, by number of the charter."""
    epsilon: float | None = None
    """That each unit of a site spent in all rounds, as the job has it; 0: there was no noise; None:
    whoever wrote this no longer knows.
    """
    delta: float | None = None
    """At which."""
    unit: NoiseUnit = "subject"
    """Whom the noise covers."""
    version: int = VERSION
