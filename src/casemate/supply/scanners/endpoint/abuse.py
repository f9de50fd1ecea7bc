"""Somebody who takes the model apart through its answers, against a scratch copy alone: whether a
limit stops it, a guard refuses it, or an anomaly is told of; a finding where none does.

Names of MITRE ATLAS: AML.T0024.000 to 002 (membership, inversion, extraction through the API),
AML.T0043.001 (crafted rows by black-box optimisation); OWASP ML01, ML04, ML05 of 2023.
"""

import time
from typing import Any, Literal

import msgspec
import numpy as np
import pandas as pd

from casemate.core.types import Record
from casemate.core.types.scan import ScanKind
from casemate.ml.attacks.decision import Decision
from casemate.ml.attacks.interface import Target as Attacked
from casemate.supply.scanners.endpoint.matrix import place_of
from casemate.supply.scanners.interface import CouldNotLook, Hit, Looked, Place
from casemate.supply.scanners.running import Client, Identity, Input, Target

Array = np.ndarray[Any, Any]
EXTRACTION_ROWS, PROBING_ROWS = 3000, 600
"""Rows that are asked about. A judgement: with so many answers of a model of thirty inputs a copy
agrees with it nearly always, and an anomaly is told of from 200 rows on.
"""
AT_ONCE = 100
EPS = 1.0
"""How far the attack of evasion reaches: a twentieth of a column's range is one unit."""
SPREAD = 0.05
HEED_SECONDS = 5.0
"""Within which an anomaly is to be told of; what was used is written down twice a second."""
STOPPED = (403, 422, 429, 503)
"""Answers of a guard or a limit."""
LOOSE = 0.65
"""AUC of telling members from others above which answers give them away, where no gate says: that
of projects that `casemate init` makes.
"""


class Outcome(Record, frozen=True, kw_only=True):
    """What became of one attack."""

    attack: str
    ended: Literal["limited", "detected", "weak", "not"]
    """`weak`: nothing stopped it, and it came to nothing."""
    told: str


class Stopped(Exception):
    """A limit or a guard of the gateway answered."""


class Asked:
    """The model as a caller sees it: over HTTP, with labels alone. It is what the attacks of
    assessment take for a model (`ml.models.Scored`).
    """

    regression = False

    def __init__(self, target: Target, who: Identity, client: Client) -> None:
        self.target, self.who, self.client = target, who, client
        self.rows = 0
        self.shown = ""
        """What answers show, such as `probabilities`."""

    def predict(self, frame: pd.DataFrame) -> tuple[Array, Array]:
        """(number of each row's class [n], nothing).

        Raises:
            Stopped: the gateway answers no more. CouldNotLook: it answers something else.
        """
        found: list[str] = []
        for start in range(0, len(frame), AT_ONCE):
            part = frame.iloc[start : start + AT_ONCE]
            found += self._labels(part)
        known = self.target.known.classes
        codes = [known.index(one) if one in known else -1 for one in found]
        return np.array(codes), np.empty((len(codes), 0))

    def scores(self, frame: pd.DataFrame) -> Array:
        """One for the class that is answered, [n, k]."""
        labels, _ = self.predict(frame)
        return np.eye(len(self.target.known.classes))[labels]

    def _labels(self, frame: pd.DataFrame) -> list[str]:
        body = msgspec.json.encode(
            {"dataframe_split": {"columns": list(frame.columns), "data": frame.to_numpy().tolist()}}
        )
        path = f"/v2/models/{self.target.known.served}/invocations"
        reply = self.client.ask("POST", path, self.who.token, body)
        if reply.status in STOPPED:
            said = reply.body[:120].decode(errors="replace")
            raise Stopped(f"after {self.rows} rows: {reply.status} {said}")
        try:
            answer = msgspec.json.decode(reply.body, type=dict[str, Any])
            labels = [str(one) for one in answer["predictions"]]
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            raise CouldNotLook(f"{path} answers {reply.status}, and no predictions") from error
        self.rows += len(frame)
        self.shown = ", ".join(sorted(set(answer) - {"predictions"}))
        return labels


class ModelAbuse:
    """Takes the model of a scratch copy apart."""

    id = "casemate-model-abuse"
    kind: ScanKind = "endpoint"

    def look(self, place: Place) -> Looked:
        """See `Scanner.look`."""
        target = place.running()
        if not target.scratch:
            note = "model abuse: only a scratch copy is attacked"
            return Looked(scanner=self.id, kind=self.kind, version="1", notes=[note])
        unseen: dict[str, str] = {}
        outcomes: list[Outcome] = []
        for name, attack in ATTACKS.items():
            who = target.known.abusers.get(name)
            if who is None:
                unseen[name] = "the scan has no credentials for it"
                continue
            try:
                with Client(target) as client:
                    outcomes.append(attack(target, Asked(target, who, client)))
            except CouldNotLook as error:
                unseen[name] = error.sentence
        return Looked(
            scanner=self.id,
            kind=self.kind,
            version="1",
            hits=[_hit(one) for one in outcomes if one.ended == "not"],
            count=len(outcomes),
            unseen=unseen,
            told=[f"{one.attack}: {one.ended}, {one.told}" for one in outcomes],
        )


def drawn(inputs: list[Input], count: int, generator: np.random.Generator) -> pd.DataFrame:
    """Rows of values that the schema allows, each drawn by itself: all that somebody knows who has
    the model's metadata and no rows.
    """
    return pd.DataFrame(
        {
            one.name: generator.choice(np.array(one.categories, dtype=object), count)
            if one.categories
            else one.low + generator.random(count) * (one.high - one.low)
            for one in inputs
        }
    )


def extraction(target: Target, asked: Asked) -> Outcome:
    """Ask about many rows, and learn a model from the answers (Tramèr et al., Stealing machine
    learning models, USENIX Security 2016).
    """
    rows = drawn(target.known.inputs, EXTRACTION_ROWS, np.random.default_rng(1))
    try:
        labels, _ = asked.predict(rows)
    except Stopped as error:
        return Outcome(attack="extraction", ended="limited", told=str(error))
    if told := _heeded(target, asked.who):
        return Outcome(attack="extraction", ended="detected", told=f"{asked.rows} rows: {told}")
    from sklearn.ensemble import RandomForestClassifier  # not at start-up

    numbers = pd.get_dummies(rows).to_numpy(dtype=float)
    half = len(rows) * 2 // 3
    copy = RandomForestClassifier(50, random_state=1, n_jobs=1).fit(numbers[:half], labels[:half])
    share = float((copy.predict(numbers[half:]) == labels[half:]).mean())
    common = np.bincount(labels[half:] + 1).max() / (len(labels) - half)
    told = (
        f"{asked.rows} rows were answered, a copy agrees on {share:.0%} of others, of which"
        f" {common:.0%} have the commonest answer"
    )
    return Outcome(attack="extraction", ended="not", told=told)


def probing(target: Target, asked: Asked) -> Outcome:
    """Change one input after the other of one row, a little each time."""
    generator = np.random.default_rng(2)
    numbers = [one for one in target.known.inputs if not one.categories]
    if not numbers:
        return Outcome(attack="probing", ended="weak", told="no input is a number")
    row = drawn(target.known.inputs, 1, generator)
    rows = pd.concat([row] * PROBING_ROWS, ignore_index=True)
    for number in range(1, PROBING_ROWS):
        one = numbers[number % len(numbers)]
        # the row before, with one value changed
        rows.iloc[number] = rows.iloc[number - 1]
        value = one.low + generator.random() * (one.high - one.low)
        rows.loc[number, one.name] = value
    try:
        asked.predict(rows)
    except Stopped as error:
        return Outcome(attack="probing", ended="limited", told=str(error))
    if told := _heeded(target, asked.who):
        return Outcome(attack="probing", ended="detected", told=f"{asked.rows} rows: {told}")
    return Outcome(attack="probing", ended="not", told=f"{asked.rows} rows, and nobody was told")


def evasion(target: Target, asked: Asked) -> Outcome:
    """HopSkipJump (`ml.attacks.decision`) over HTTP: the nearest row with another answer."""
    known = target.known
    numbers = [one for one in known.inputs if not one.categories]
    if len(known.classes) < 2 or not numbers:
        return Outcome(attack="evasion", ended="weak", told="no classes, or no input is a number")
    generator = np.random.default_rng(3)
    low, high = (np.array([getattr(one, name) for one in numbers]) for name in ("low", "high"))
    wide = high - low
    start = drawn(known.inputs, 1, generator)
    try:
        codes, _ = asked.predict(start)
        attacked = Attacked(
            model=asked,
            frame=start,
            codes=codes,
            names=[one.name for one in numbers],
            spread=wide * SPREAD,
            low=low,
            high=high,
            down=wide,
            up=wide,
            integer=np.zeros(len(numbers), dtype=bool),
        )
        best, margins = attacked.start.copy(), np.ones(1)
        Decision(1).improve(attacked, best, margins, EPS, 1, 3)
    except Stopped as error:
        return Outcome(attack="evasion", ended="limited", told=str(error))
    if told := _heeded(target, asked.who):
        return Outcome(attack="evasion", ended="detected", told=f"{asked.rows} rows: {told}")
    if margins[0] > 0:
        told = f"{asked.rows} rows, and none within reach has another answer"
        return Outcome(attack="evasion", ended="weak", told=told)
    told = f"after {asked.rows} rows another answer was reached, and nobody was told"
    return Outcome(attack="evasion", ended="not", told=told)


def membership(target: Target, asked: Asked) -> Outcome:
    """What answers show, held against how well the assessment could tell members by them."""
    asked.predict(drawn(target.known.inputs, 1, np.random.default_rng(4)))
    shown = f"answers show the label and {asked.shown}" if asked.shown else "answers show the label"
    figures = target.known.membership
    if not figures:
        ended: Literal["weak", "not"] = "not" if asked.shown else "weak"
        return Outcome(attack="membership", ended=ended, told=f"{shown}; nobody measured it")
    name, figure = max(figures.items(), key=lambda one: one[1])
    ended = "weak" if figure <= max(LOOSE, target.known.membership_limit) else "not"
    return Outcome(attack="membership", ended=ended, told=f"{shown}; {name} is {figure:.3f}")


ATTACKS = {
    "extraction": extraction,
    "probing": probing,
    "evasion": evasion,
    "membership": membership,
}
REFERENCES = {
    "extraction": ["AML.T0024.002", "CWE-799", "OWASP-ML05:2023"],
    "probing": ["AML.T0040", "CWE-799", "OWASP-API4:2023"],
    "evasion": ["AML.T0043.001", "CWE-799", "OWASP-ML01:2023"],
    "membership": ["AML.T0024.000", "CWE-200", "OWASP-ML04:2023"],
}


def _heeded(target: Target, who: Identity) -> str:
    """Which anomalies of a caller were told of, in words; empty: none within `HEED_SECONDS`."""
    end = time.monotonic() + HEED_SECONDS
    while target.anomalies is not None:
        found = target.anomalies(who.uid)
        if found or time.monotonic() > end:
            return ", ".join(found)
        time.sleep(0.1)
    return ""


def _hit(one: Outcome) -> Hit:
    return Hit(
        rule=f"endpoint.model-{one.attack}",
        severity="medium",
        message=f"{one.attack} through answers: no limit and no guard answered ({one.told})",
        path=place_of(""),
        material=one.attack,
        references=REFERENCES[one.attack],
        mend="[serve.limits] rows, requests_per_minute and probing; [serve.outputs] show",
    )
