"""A coordinator and three sites, each a process of its own, over mTLS: what they learn together, and
what a kill of any of them costs.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from tests.conftest import write_csv
from tests.unit.operations.wards import COLUMNS, DECLARED, PURPOSE, rows

import casemate
from casemate.controls.federation import cards, messages
from casemate.controls.federation.cards import Charter, charter_in
from casemate.controls.federation.comparing import compare, record_in
from casemate.controls.privacy.budget import total
from casemate.core.digest import sha256
from casemate.ml.federated import encoding
from casemate.ml.federated.encoding import Scale
from casemate.ml.federated.local import LocalPlan
from casemate.ml.frame import codes_of, features_of
from casemate.ml.models import load_skops
from casemate.operations import scaffold
from casemate.operations.federated.books import Begun
from casemate.operations.project import Project
from casemate.stages.data import schema as pinned
from casemate.stages.train.global_linear import estimator_of
from casemate.stages.train.training_code import code_digest

pytestmark = pytest.mark.slow
SITES = ("north", "south", "east")
CODE = "from sklearn.linear_model import LogisticRegression\ndef build(): return LogisticRegression()\n"
TREES = """from sklearn.ensemble import HistGradientBoostingClassifier
def build(): return HistGradientBoostingClassifier(max_iter=3, max_depth=2, learning_rate=0.5)
"""
POLICY = """
[federate]
coordinators = ["{coordinator}"]
code = ["{code}"]
masked = false
least_rows = 20
"""


def project(folder: Path, name: str, number: int, code: str = CODE) -> Project:
    """Made, and never run."""
    root = folder / name
    root.mkdir()
    plan = scaffold.from_table(root, write_csv(root / "t.csv", rows(number, 160)), "y")
    scaffold.create(root, plan)
    file = root / "casemate.toml"
    text = file.read_text().replace('purpose = "unspecified"', f'purpose = "{PURPOSE}"')
    file.write_text(text + DECLARED)
    (root / "train.py").write_text(code)
    (root / "schema.toml").write_text(pinned.dump(COLUMNS))
    return casemate.open(root)


class Owners:
    """Projects that have agreed, and their processes.

    Args:
        folder: for everything, empty.
        address: of the coordinator.
        inside: by owner, words that run the command behind them where it lives; default: here.
        code: what the job trains.
        more: lines of every site's `[federate]`.
    """

    def __init__(
        self,
        folder: Path,
        address: str = "127.0.0.1",
        inside: dict[str, list[str]] | None = None,
        code: str = CODE,
        more: str = "",
    ) -> None:
        self.folder, self.inside = folder, inside or {}
        with socket.socket() as made:
            made.bind(("127.0.0.1", 0))
            port = made.getsockname()[1]
        centre = project(folder, "centre", 9, code)
        sites = [project(folder, name, number, code) for number, name in enumerate(SITES)]
        signed = centre.federated.found(
            "wards",
            url=f"https://{address}:{port}",
            sites=[one.federated.card(name) for one, name in zip(sites, SITES, strict=True)],
            called="centre",
        )
        self.charter: Charter = charter_in(signed)
        policy = POLICY.format(
            coordinator=self.charter.coordinator.fingerprint,
            code=code_digest(centre.root, centre.config),
        )
        for one in sites:
            with (one.root / "casemate.toml").open("a") as file:
                file.write(policy + more)
            casemate.open(one.root).federated.approve(signed)
        self._stack = contextlib.ExitStack()

    def open(self, name: str) -> Project:
        """As it is now."""
        return casemate.open(self.folder / name)

    def start(self, name: str, *words: str) -> subprocess.Popen[str]:
        """`casemate federate` with these words."""
        said = ["-m", "casemate", "federate", *words, "--config", name]
        command = [*self.inside.get(name, []), sys.executable, *said]
        log = self._stack.enter_context((self.folder / f"{name}.log").open("a"))
        made = subprocess.Popen(
            command, cwd=self.folder, stdout=log, stderr=log, text=True, env=os.environ | {}
        )
        self._stack.callback(made.kill)
        return made

    def lead(self, *words: str) -> subprocess.Popen[str]:
        """The coordinator."""
        return self.start("centre", "lead", "wards", "--wait", "60", *words)

    def join(self, name: str, *words: str) -> subprocess.Popen[str]:
        """A site."""
        return self.start(name, "join", "wards", *words)

    def said(self, name: str) -> str:
        """What its processes have written so far."""
        return (self.folder / f"{name}.log").read_text()

    def ended(self, *processes: subprocess.Popen[str]) -> None:
        """All of them, well."""
        for one in processes:
            code = one.wait(180)
            assert code == 0, [path.read_text() for path in self.folder.glob("*.log")]

    def rounds(self, name: str) -> list[Any]:
        """On record there."""
        return self.open(name).federated.rounds("wards")

    def until(self, name: str, number: int) -> None:
        """Wait until so many rounds are on record there."""
        for _ in range(600):
            if len(self.rounds(name)) >= number:
                return
            time.sleep(0.05)
        raise AssertionError([path.read_text() for path in self.folder.glob("*.log")])

    def require_one_story(self) -> None:
        """Everybody's record says the same."""
        records = [
            record_in(self.open(name).federated.export("wards"), self.charter)
            for name in ("centre", *SITES)
        ]
        told = compare(self.charter, records)
        assert told.differences == []
        assert told.answers == 3 * told.rounds

    def close(self) -> None:
        """End whatever goes on."""
        self._stack.close()


@pytest.fixture
def owners(home: Path, tmp_path: Path) -> Iterator[Owners]:
    made = Owners(tmp_path)
    yield made
    made.close()


READ = """
import sys, casemate, pyarrow.parquet as pq
from casemate.controls.federation.cards import charter_in
from casemate.operations.federated import ownrows
project = casemate.open(sys.argv[1])
charter = charter_in(project.federation.charter("wards").content)
pq.write_table(ownrows.read(project, charter, noisy=False).table, sys.argv[2])
"""


def pooled(owners: Owners) -> pd.DataFrame:
    """The rows that sites answer from, together. What is held out hangs on a key that processes of
    their own draw: this one has another.
    """
    tables = []
    for name in SITES:
        file = owners.folder / f"{name}.parquet"
        words = [sys.executable, "-c", READ, name, str(file)]
        subprocess.run(words, cwd=owners.folder, check=True)
        tables.append(pq.read_table(file))
    frames = [features_of(one, owners.charter.columns) for one in tables]
    codes = np.concatenate([codes_of(one, owners.charter.columns) for one in tables])
    return pd.concat(frames, ignore_index=True).assign(y=codes)


def final(estimator: Any) -> np.ndarray:
    """Coefficients and intercept of its last step."""
    return np.append(estimator[-1].coef_, estimator[-1].intercept_)


def test_sites_in_processes_of_their_own_learn_the_pooled_fit_and_all_tell_the_same(
    owners: Owners,
) -> None:
    owners.ended(owners.lead("--rule", "exact"), *map(owners.join, SITES))
    folder = owners.folder / "centre" / "federated"
    content = (folder / "wards.skops").read_bytes()
    found = load_skops(content).estimator

    table, limits = pooled(owners), cards.limits_of(owners.charter.columns)
    features = table.drop(columns="y")
    numbers = limits.clipped(features)
    scale = Scale(means=numbers.mean(axis=0).tolist(), deviations=numbers.std(axis=0).tolist())
    fitted = LogisticRegression(C=1.0, tol=1e-12, max_iter=100_000).fit(
        encoding.encode(features, limits, scale), table["y"]
    )
    weights = np.append(fitted.coef_[0], fitted.intercept_)
    same = estimator_of(weights, scale, limits, owners.charter.columns, {"C": 1.0})
    # of what is as large as ten no more can be asked
    assert np.allclose(final(found), final(same), rtol=1e-6, atol=1e-6)
    assert np.abs(found.predict_proba(features) - same.predict_proba(features)).max() < 1e-6

    owners.require_one_story()
    record = record_in((folder / "wards.record.json").read_bytes(), owners.charter)
    assert record.model == sha256(content)
    assert len(record.sites) == 3
    centre = owners.open("centre")
    told = [one for one in centre.log.entries() if one.action == "federation:round"]
    assert [one.detail["combined"] for one in told] == [one.combined for one in record.rounds]
    assert not list((centre.state / "federated").glob("*.led"))


def test_sites_hear_that_a_job_has_ended_by_a_fault_of_the_coordinator_and_why(
    owners: Owners,
) -> None:
    (owners.folder / "centre" / "federated").write_text("where its model would be written")
    lead, sites = owners.lead("--rounds", "1"), [owners.join(name) for name in SITES]
    assert lead.wait(180) != 0
    assert [one.wait(180) for one in sites] == [1, 1, 1]
    for name in SITES:
        said = owners.said(name)
        assert "nothing came of the job: the coordinator failed" in said
        # until others have come, nobody asks: it does not stand there without a word
        assert re.search(r"^ready with \d+ rows, and waiting for a question$", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("masked", "compared"),
    [
        (True, False),
        pytest.param(True, True, marks=pytest.mark.long),
        pytest.param(False, True, marks=pytest.mark.long),
    ],
)
def test_trees_are_grown_over_processes_and_a_killed_site_changes_none(
    home: Path, tmp_path: Path, masked: bool, compared: bool
) -> None:
    words = ("--rule", "exact", *(() if masked else ("--no-masked",)))
    more = 'models = ["HistGradientBoostingClassifier"]\n'
    with contextlib.closing(Owners(tmp_path, code=TREES, more=more)) as owners:
        lead, sites = owners.lead(*words), {name: owners.join(name) for name in SITES}
        owners.until("centre", 1)
        sites["south"].send_signal(signal.SIGKILL)
        sites["south"].wait()
        sites["south"] = owners.join("south")
        owners.ended(lead, *sites.values())
        owners.require_one_story()
        # the counts of bins, and each level of each tree
        assert len(owners.rounds("centre")) == 1 + 3 * 2
        model = owners.folder / "centre" / "federated" / "wards.skops"
        begun = model.read_bytes()
        if compared:  # with a job in which nobody was killed
            model.unlink()
            owners.ended(owners.lead(*words), *map(owners.join, SITES))
            assert sha256(model.read_bytes()) == sha256(begun)
    table = rows(0, 160)
    found = load_skops(begun).estimator.predict(features_of(table, COLUMNS))
    assert np.mean(found == np.array(COLUMNS.classes)[table["y"].to_numpy()]) > 0.65


def test_killed_at_any_time_both_sides_go_on_and_nothing_is_trained_or_counted_twice(
    owners: Owners,
) -> None:
    words = ("--rule", "fedavg", "--rounds", "5", "--no-masked", "--calibrate", "0.5")
    lead, sites = owners.lead(*words), {name: owners.join(name) for name in SITES}
    owners.until("centre", 2)
    sites["south"].send_signal(signal.SIGKILL)
    sites["south"].wait()
    sites["south"] = owners.join("south")
    owners.until("centre", 4)
    lead.send_signal(signal.SIGKILL)
    lead.wait()
    kept = owners.rounds("centre")
    file = owners.open("centre").state / "federated" / "wards.led"
    signed = msgspec.msgpack.decode(file.read_bytes(), type=Begun).job
    job = cards.opened(signed, messages.JOB_TYPE, owners.charter.coordinator, messages.Job)
    assert job.plan == LocalPlan(calibrated=0.5)
    lead = owners.lead(*words)
    owners.ended(lead, *sites.values())
    # what was gathered before is as it was
    assert owners.rounds("centre")[: len(kept)] == kept
    owners.require_one_story()
    for name in SITES:
        told = [one for one in owners.open(name).log.entries() if one.action == "federation:answer"]
        first = [one.detail["round"] for one in told if "answer" in one.detail]
        anew = [one.detail["round"] for one in told if one.detail.get("again")]
        assert sorted(set(first)) == list(range(1, 7))
        assert len(first) - len(anew) == 6
    # the same as if nobody had been killed
    begun = (owners.folder / "centre" / "federated" / "wards.skops").read_bytes()
    owners.ended(owners.lead(*words), *map(owners.join, SITES))
    again = (owners.folder / "centre" / "federated" / "wards.skops").read_bytes()
    assert sha256(again) == sha256(begun)


def test_trees_with_noise_are_paid_at_each_site_and_the_record_says_what_they_cost(
    home: Path, tmp_path: Path
) -> None:
    policy = 'models = ["HistGradientBoostingClassifier"]\nnoise = true\nepsilon_round = 5.0\n'
    owners = Owners(tmp_path, code=TREES, more=policy)
    words = ("--rule", "exact", "--epsilon", "3")
    owners.ended(owners.lead(*words), *map(owners.join, SITES))
    owners.require_one_story()
    folder = owners.folder / "centre" / "federated"
    record = record_in((folder / "wards.record.json").read_bytes(), owners.charter)
    assert [one.what for one in record.rounds] == ["leaves"] * 4
    assert (record.epsilon, record.delta) == (3.0, 1e-5)
    for name in SITES:
        one = owners.open(name)
        paid = one.ledger.of(one.config.dataset_name, PURPOSE)
        assert [line.what for line in paid] == [
            f"round {number} of wards" for number in range(1, 5)
        ]
        assert 2.8 < total(paid, 1e-5) <= 3.0
    found = load_skops((folder / "wards.skops").read_bytes()).estimator
    assert found[-1].n_iter_ == 3
    # a linear model's sums are not clipped: nothing is promised of them
    (owners.folder / "centre" / "train.py").write_text(CODE)
    assert owners.lead(*words).wait(60) == 2
    assert "are not clipped, so no noise covers them" in (tmp_path / "centre.log").read_text()
    owners.close()
