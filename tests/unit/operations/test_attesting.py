"""A site measures at home what a model tells of its rows: figures leave, signed, and nothing where
they would be about other rows, or tell what noise covers.
"""

import json

import msgspec
import numpy as np
import pytest
from msgspec import structs
from tests.conftest import write_csv
from tests.unit.operations import wards
from tests.unit.operations.test_judging import TREES, about_leaves, noisy, sums_with_noise

import casemate
from casemate.controls.federation import COORDINATOR, cards
from casemate.controls.federation.cards import limits_of
from casemate.controls.federation.messages import RECORD_TYPE, JobRecord
from casemate.controls.federation.statements import statement_in
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, RefusedError, VerificationError
from casemate.ml.federated.encoding import Scale
from casemate.operations.federated import ownrows
from casemate.operations.federated.judging import SitePolicy
from casemate.operations.federated.recording import record_of
from casemate.stages.train import global_linear
from casemate.stages.train.turns import Found


class Learnt:
    """A job that a ward answered once, and the model that came of it."""

    def __init__(self, folder, more="", about=wards.question_of, **of_job):
        self.leader = wards.Coordinator()
        (self.ward,), self.charter = wards.wards(folder, 1, self.leader, more)
        self.rows = ownrows.read(self.ward, self.charter, noisy=False)
        job = wards.job_of(self.charter, **of_job)
        site = wards.answering(self.ward, self.charter, job, self._computed)
        site(wards.ask_of(about(job)))
        self.model = folder / "wards.skops"
        limits = limits_of(self.charter.columns)
        weights = np.array([2.0, -1.0, 0.5, 0.0, 0.0, 0.1])
        scale = Scale(means=[0.0, 0.0], deviations=[1.0, 1.0])
        self.model.write_bytes(
            global_linear.skops_file(
                np.resize(weights, limits.width + 1),
                scale,
                limits,
                self.charter.columns,
                {"C": 1.0},
            )
        )
        self.job = job.digest
        self.record(self.job)

    def _computed(self, task, numbers, size):
        counted = 99.5 if task.plan.sigma and task.what == "train" else None
        vector = np.zeros(size).tobytes()
        return Found(vector=vector, rows=100, counted=counted, of=self.rows.digest)

    def record(self, job, signer=None):
        """The coordinator's, beside the model."""
        kept = self.ward.federation.of(self.charter.digest, job)
        digest = sha256(self.model.read_bytes())
        told = record_of(self.charter, self.charter.coordinator, kept, digest)
        told = structs.replace(told, site=COORDINATOR)
        content = cards.signed(told, RECORD_TYPE, signer or self.leader.signer)
        self.model.with_suffix(".record.json").write_bytes(content)

    def attest(self):
        return self.ward.federated.attest("wards", self.model)


@pytest.fixture
def learnt(home, tmp_path):
    made = Learnt(tmp_path)
    yield made
    made.ward.close()


@pytest.mark.slow  # reads the model in one sandbox, and attacks it in another
def test_figures_of_the_sites_own_rows_leave_signed_and_are_on_record(learnt):
    found = learnt.attest()
    said = statement_in(found.signed, learnt.charter)
    assert said == found.statement
    assert said.model == sha256(learnt.model.read_bytes())
    assert set(said.leaks) >= {"membership_auc", "label_only_auc", "lira_auc", "memorised_share"}
    leak = said.leaks["membership_auc"]
    assert leak.attack == "loss-threshold"
    # weights that no row decided tell no row
    assert leak.figure.low < 0.5 < leak.figure.high
    assert leak.rows == learnt.rows.holdout.num_rows
    (entry,) = wards.entries(learnt.ward, "federation:attest")
    assert entry.detail["statement"] == sha256(found.signed)
    payload = msgspec.convert(json.loads(found.signed)["payload"], bytes)
    assert set(json.loads(payload)) == {
        "charter", "job", "site", "model", "leaks", "time", "version"
    }  # fmt: skip


def test_rows_that_changed_since_are_not_those_that_were_learnt_from(learnt):
    write_csv(learnt.ward.root / "ward.csv", wards.rows(0, 201))
    with pytest.raises(RefusedError, match="are not those of the job's last round"):
        learnt.attest()
    assert wards.entries(learnt.ward, "federation:attest") == []


def test_other_sides_of_the_same_rows_are_not_those_that_were_learnt_from(learnt):
    file = learnt.ward.root / "casemate.toml"
    learnt.ward.close()
    text = file.read_text().replace("[train]\n", "[train]\ntest_share = 0.4\n", 1)
    file.write_text(text)
    learnt.ward = casemate.open(learnt.ward.root)
    with pytest.raises(RefusedError, match="or the sides that they are on"):
        learnt.attest()


def test_a_site_with_noise_gives_no_exact_figure_of_the_rows_that_it_covers(home, tmp_path):
    made = Learnt(tmp_path, "epsilon_round = 5.0", **noisy(epsilon=2.0, rounds=3))
    with pytest.raises(SitePolicy, match="noise covers whose rows are here"):
        made.attest()


def test_a_site_that_noise_covers_as_a_whole_gives_no_exact_figure_of_its_rows(home, tmp_path):
    made = Learnt(tmp_path, "epsilon_round = 5.0", **noisy(epsilon=2.0, rounds=3, unit="site"))
    with pytest.raises(SitePolicy, match="noise covers whose rows are here"):
        made.attest()


def test_trees_with_noise_give_no_exact_figure_either(home, tmp_path):
    policy = f'models = ["{TREES["estimator"]}"]\nepsilon_round = 5.0'
    made = Learnt(tmp_path, policy, about_leaves, **TREES, **sums_with_noise())
    with pytest.raises(SitePolicy, match="noise covers whose rows are here"):
        made.attest()


def test_a_file_that_is_not_what_the_job_came_to_is_not_measured(learnt):
    learnt.model.write_bytes(learnt.model.read_bytes() + b" ")
    with pytest.raises(VerificationError, match="of another file"):
        learnt.attest()
    learnt.record(learnt.job, wards.Coordinator("other").signer)
    with pytest.raises(VerificationError):
        learnt.attest()
    learnt.model.with_suffix(".record.json").unlink()
    with pytest.raises(ConfigError, match="there is no file .*record.json"):
        learnt.attest()


def test_a_job_that_this_site_did_not_answer_is_none_of_its_rows(learnt):
    content = learnt.model.with_suffix(".record.json").read_bytes()
    told = cards.opened(content, RECORD_TYPE, learnt.leader.card, JobRecord)
    other = cards.signed(structs.replace(told, job="00" * 32), RECORD_TYPE, learnt.leader.signer)
    learnt.model.with_suffix(".record.json").write_bytes(other)
    with pytest.raises(ConfigError, match="gave no answer in job"):
        learnt.attest()


def test_a_record_that_another_site_signed_says_of_no_file_that_it_came_of_the_job(learnt):
    kept = learnt.ward.federation.of(learnt.charter.digest, learnt.job)
    digest = sha256(learnt.model.read_bytes())
    told = structs.replace(record_of(learnt.charter, learnt.charter.sites[0], kept, digest), site=0)
    content = cards.signed(told, RECORD_TYPE, learnt.ward.signer)
    learnt.model.with_suffix(".record.json").write_bytes(content)
    with pytest.raises(VerificationError, match="is no coordinator's record"):
        learnt.attest()


def test_a_site_that_gives_noise_alone_by_now_gives_no_exact_figure_of_an_earlier_job(learnt):
    file = learnt.ward.root / "casemate.toml"
    learnt.ward.close()
    file.write_text(file.read_text().replace("[federate]\n", "[federate]\nnoise = true\n", 1))
    learnt.ward = casemate.open(learnt.ward.root)
    with pytest.raises(SitePolicy, match="noise covers whose rows are here"):
        learnt.attest()


def test_no_figure_is_told_of_fewer_rows_than_this_project_tells_anything_of(learnt):
    file = learnt.ward.root / "casemate.toml"
    learnt.ward.close()
    least = learnt.rows.holdout.num_rows + 1
    text = file.read_text()
    assert "[privacy]" not in text
    file.write_text(f"{text}\n[privacy]\nmin_group = {least}\n")
    learnt.ward = casemate.open(learnt.ward.root)
    with pytest.raises(SitePolicy, match=f"fewer than {least} rows are held out"):
        learnt.attest()


def test_a_file_is_given_by_its_path_or_by_the_name_of_it(learnt):
    with pytest.raises(ConfigError, match="there is no file"):
        learnt.ward.federated.attest("wards", str(learnt.model.with_name("other.skops")))


def test_of_one_job_no_second_file_is_measured(learnt):
    def attested(model):
        learnt.ward.log.record(
            'User::"me"', "federation:attest", 'Federation::"wards"', "done",
            charter=learnt.charter.digest, job=learnt.job, model=model, statement="", figures={},
        )  # fmt: skip

    attested(sha256(learnt.model.read_bytes()))
    write_csv(learnt.ward.root / "ward.csv", wards.rows(0, 201))
    with pytest.raises(RefusedError, match="are not those of the job's last round"):
        learnt.attest()  # the same one may be, with the rows of then
    attested("cd" * 32)
    with pytest.raises(SitePolicy, match="another file was attested here"):
        learnt.attest()


def test_a_coordinator_that_counts_here_no_longer_is_told_nothing(learnt):
    file = learnt.ward.root / "casemate.toml"
    learnt.ward.close()
    lines = file.read_text().splitlines()
    file.write_text(
        "\n".join("coordinators = []" if "coordinators" in one else one for one in lines)
    )
    learnt.ward = casemate.open(learnt.ward.root)
    with pytest.raises(RefusedError, match="is no coordinator whose charters count"):
        learnt.attest()
