"""Sites with projects of their own, and a coordinator that is a test: it asks what it likes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from cryptography.hazmat.primitives.serialization import Encoding
from tests.conftest import write_csv

import casemate
from casemate.controls.federation import cards, messages
from casemate.controls.federation.messages import (
    Cannot,
    Given,
    Hand,
    Heard,
    Job,
    Question,
    Reveal,
    Roster,
    Turn,
    session_of,
)
from casemate.controls.keys.pki import Authority, create_authority
from casemate.core.entry import Entry
from casemate.core.signatures import Signer
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.federated.learners import LinearLearner
from casemate.ml.federated.local import LocalPlan
from casemate.ml.federated.masking import Terms
from casemate.ml.federated.secure import threshold_of
from casemate.ml.federated.unmasking import Gatherer, Sum
from casemate.operations import scaffold
from casemate.operations.federated import agreeing
from casemate.operations.federated.answering import Answering
from casemate.operations.federated.joining import join
from casemate.operations.federated.judging import judged, least_of
from casemate.operations.federated.keeping import Keeping
from casemate.operations.federated.parties import card_of, number_in
from casemate.operations.project import Project
from casemate.stages.train.member import Task
from casemate.stages.train.training_code import digest_of
from casemate.stages.train.turns import Found, Numbers

Array = np.ndarray[Any, Any]
CODE = {"train.py": b"def build():\n    raise SystemExit('a linear model needs no code')\n"}
PURPOSE = "research"
COLUMNS = Schema(
    target="y",
    classes=["0", "1"],
    columns=[
        ColumnSchema(name="a", type="number", min=-4.0, max=4.0, nullable=True),
        ColumnSchema(name="b", type="number", min=-4.0, max=4.0, nullable=True),
        ColumnSchema(name="c", type="category", categories=["x", "y"], nullable=True),
        ColumnSchema(name="y", type="category"),
    ],
)
POLICY = """
[federate]
coordinators = ["{coordinator}"]
code = ["{code}"]
masked = false
least_sites = 2
least_rows = 20
{more}
"""
DECLARED = """
[data.columns]
a = { min = -4, max = 4 }
b = { min = -4, max = 4 }
c = { categories = ["x", "y"] }
y = { categories = ["0", "1"] }
"""


class Owner:
    """One project's keys and card."""

    def __init__(self, name: str) -> None:
        self.name, self.signer = name, Signer.generate()
        key, certificate = create_authority(name)
        self.authority = Authority(key, certificate)
        ecdsa, mldsa = self.signer.verifier.pems
        self.card = cards.Card(
            name=name,
            project=name,
            authority=certificate.public_bytes(Encoding.PEM).decode(),
            ecdsa=ecdsa.decode(),
            mldsa65=mldsa.decode(),
        )


class Coordinator(Owner):
    """Who leads."""

    def __init__(self, name: str = "leader") -> None:
        super().__init__(name)

    def charter(self, sites: list[Project], url: str = "https://127.0.0.1:8460") -> cards.Charter:
        """Of these sites, in their order; a single one has a neighbour that never comes."""
        cards_of = [card_of(one, f"ward-{number}") for number, one in enumerate(sites)]
        if len(sites) == 1:
            cards_of.append(Owner("absent").card)
        return charter_of(cards_of, self, url)

    def signed(self, charter: cards.Charter) -> bytes:
        """As a file."""
        return cards.signed(charter, cards.CHARTER_TYPE, self.signer)


def charter_of(
    sites: list[cards.Card], leader: Owner, url: str = "https://127.0.0.1:8460"
) -> cards.Charter:
    """Of whoever has these cards."""
    return cards.Charter(
        name="wards",
        purpose=PURPOSE,
        url=url,
        coordinator=leader.card,
        sites=sites,
        columns=COLUMNS,
        least=2,
    )


def rows(number: int, count: int = 200) -> pa.Table:
    """Some of a ward's, that differ from another's."""
    chance = np.random.default_rng(number)
    values = (chance.standard_normal((count, 2)) + 0.1 * number).clip(-3.9, 3.9)
    kinds = chance.integers(0, 2, count)
    truth = values[:, 0] - 0.5 * values[:, 1] + kinds + chance.standard_normal(count) > 0.5
    return pa.table(
        {
            "a": values[:, 0],
            "b": values[:, 1],
            "c": [("x", "y")[kind] for kind in kinds],
            "y": truth.astype(int),
        }
    )


def site(
    folder: Path,
    number: int,
    coordinator: Coordinator,
    more: str = "",
    *,
    table: pa.Table | None = None,
    subject: str = "",
) -> Project:
    """A ward's project, with a policy that lets this coordinator ask.

    Args:
        folder: of all wards.
        number: of the ward.
        coordinator: who may ask.
        more: lines of `[federate]`, and further tables.
        table: its own; default: `rows`.
        subject: column of whom a row is about.
    """
    root = folder / f"ward-{number}"
    root.mkdir(parents=True)
    file = write_csv(root / "ward.csv", rows(number) if table is None else table)
    scaffold.create(root, scaffold.from_table(root, file, "y"))
    file = root / "casemate.toml"
    policy = POLICY.format(
        coordinator=coordinator.card.fingerprint, code=digest_of(CODE), more=more
    )
    text = file.read_text().replace('purpose = "unspecified"', f'purpose = "{PURPOSE}"')
    if subject:
        text = text.replace('target = "y"', f'target = "y"\nsubject = "{subject}"')
    text = re.sub(r"(?ms)^\[data\.columns\].*?(?=^\[)", "", text)
    file.write_text(text + DECLARED + policy)
    return casemate.open(root)


def wards(
    folder: Path, count: int, coordinator: Coordinator, more: str = "", **own: Any
) -> tuple[list[Project], cards.Charter]:
    """Some sites that have approved one charter."""
    sites = [site(folder, number, coordinator, more, **own) for number in range(count)]
    charter = coordinator.charter(sites)
    for one in sites:
        agreeing.approve(one, coordinator.signed(charter))
    return sites, charter


def job_of(charter: cards.Charter, **changes: Any) -> Job:
    """FedAvg on a logistic regression, unless it is changed."""
    limits = cards.limits_of(charter.columns)
    told: dict[str, Any] = {
        "id": "0123456789abcdef" * 2,
        "charter": charter.digest,
        "entry": "train.py:build",
        "code": CODE,
        "code_digest": digest_of(changes.get("code", CODE)),
        "estimator": "LogisticRegression",
        "layout": LinearLearner(limits.width, 2).layout,
        "settings": {"C": 1.0},
        "limits": limits,
        "rule": "fedavg",
        "combine": "mean",
        "plan": LocalPlan(),
        "rounds": 5,
        "masked": False,
        "groups": 1,
        "epsilon": 0.0,
        "delta": 1e-5,
        "seed": 0,
        "versions": {},
        "begun": "2026-11-30T00:00:00+00:00",
    }
    return Job(**(told | changes))


def question_of(job: Job, number: int = 1, **changes: Any) -> Question:
    """A round of training from nought, unless it is changed."""
    size = job.layout.size
    told: dict[str, Any] = {
        "job": job.id,
        "round": number,
        "what": "train",
        "size": size + job.masked,
        "most": 2.0 ** (14 if changes.get("what", "train") == "train" else 30),
        "weights": np.zeros(size).tobytes(),
        "full": 1000.0 if job.masked and not job.epsilon else 0.0,
    }
    return Question(**(told | changes))


def ask_of(question: Question, attempt: int = 1, **more: Any) -> messages.Ask:
    """Its first turn."""
    turn = Turn(job=question.job, round=question.round, attempt=attempt, step=0)
    return messages.Ask(turn=turn, question=question, **more)


def answering(
    project: Project, charter: cards.Charter, job: Job, compute: Callable[..., Found] | None = None
) -> Answering:
    """A site that has taken a job, and computes as it is told."""
    number = number_in(project, charter)
    acting = join.ask(project, context={"charter": charter.name})
    told = judged(job, charter, project.config.federate, project.config.privacy)
    keeping = Keeping(acting, charter, number, told)
    least = least_of(project.config.federate)
    return Answering(charter, number, told, keeping, compute or Counted(number), least)


class Counted:
    """Computes what is asked for without a row: something else each time."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.tasks: list[Task] = []

    def __call__(self, task: Task, numbers: Numbers, size: int) -> Found:
        self.tasks.append(task)
        vector = np.random.default_rng().standard_normal(size).astype("<f8").tobytes()
        counted = 100.5 if task.plan.sigma else None
        return Found(vector=vector, rows=100 + self.number, counted=counted)


def entries(project: Project, action: str = "federation:answer") -> list[Entry]:
    """What the log has of an action, oldest first."""
    return [one for one in project.log.entries() if one.action == action]


class Round:
    """A coordinator in one attempt at a masked round, which may ask as it likes."""

    def __init__(self, sites: list[Answering], question: Question, attempt: int = 1) -> None:
        self.sites = {one.site: one for one in sites}
        self.question, self.attempt = question, attempt
        self.terms = Terms(
            session=session_of(question, attempt),
            round=question.round,
            size=question.size,
            most=question.most,
            threshold=threshold_of(len(sites)),
        )
        self.introductions: list[bytes] = []

    def turn(self, step: int) -> Turn:
        """Of one step."""
        question = self.question
        return Turn(job=question.job, round=question.round, attempt=self.attempt, step=step)

    def begin(self, signers: dict[int, Any]) -> dict[int, Given | Cannot]:
        """Step 0, to all."""
        self.introductions = [one.introduction(signers[n]) for n, one in self.sites.items()]
        return self.ask(self.introductions)

    def ask(self, introductions: list[bytes], **terms: Any) -> dict[int, Given | Cannot]:
        """Step 0 with other introductions, or terms."""
        told = msgspec.structs.replace(self.terms, **terms)
        message = messages.Ask(
            turn=self.turn(0), question=self.question, terms=told, introductions=introductions
        )
        return {number: one(message) for number, one in self.sites.items()}

    def masked(self, adverts: list[Any]) -> dict[int, Given | Cannot]:
        """Steps 1 and 2, to all."""
        self.gatherer = Gatherer(self.terms)
        roster = self.gatherer.roster(adverts)
        given = {n: one(Roster(turn=self.turn(1), adverts=roster)) for n, one in self.sites.items()}
        sealed = self.gatherer.forward({number: one.sealed for number, one in given.items()})
        hands = {n: Hand(turn=self.turn(2), sealed=sealed[n]) for n in self.sites}
        return {number: one(hands[number]) for number, one in self.sites.items()}

    def agreed(self, heard: list[int]) -> dict[int, Given | Cannot]:
        """Step 3, to all that were heard."""
        message = Heard(turn=self.turn(3), heard=heard)
        return {number: self.sites[number](message) for number in heard}

    def opened(self, agreements: list[Any]) -> dict[int, Given | Cannot]:
        """Step 4, to all that agreed."""
        message = Reveal(turn=self.turn(4), agreements=agreements)
        return {one.site: self.sites[one.site](message) for one in agreements}

    def whole(self, signers: dict[int, Any], without: int | None = None) -> Sum:
        """All of it; the answer of one site may be left out."""
        adverts = [one.advert for one in self.begin(signers).values()]
        for number, given in self.masked(adverts).items():
            if number != without:
                self.gatherer.add(given.masked)
        agreements = [one.agreement for one in self.agreed(self.gatherer.heard()).values()]
        revealed = [one.revealed for one in self.opened(agreements).values()]
        return self.gatherer.finish(revealed)
