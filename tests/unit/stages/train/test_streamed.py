"""A model that was trained on a sample goes on with rows that come through a pipe: as if it had seen
them all at once, and nothing stays behind where that fails.
"""

import os
import textwrap
import threading

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from casemate.config import DataTable, TrainTable
from casemate.core.errors import VerificationError
from casemate.core.sandbox.child import Channel
from casemate.core.sandbox.failure import JobFailed, JobLimits
from casemate.core.sandbox.feed import FED, Feed
from casemate.core.sandbox.run import Worker
from casemate.core.sandbox.server import ForkServer
from casemate.ml.frame import WEIGHT, features_of, target_of, wanted
from casemate.ml.models import SKOPS
from casemate.stages.data import schema as schemas
from casemate.stages.train.entry import BadEntry
from casemate.stages.train.streamed import go_on, refusal

ROWS, SAMPLE = 60_000, 2_000


def table_of(rows=ROWS, *, weighted=False, quantity=False) -> pa.Table:
    draw = np.random.default_rng(0)
    a, b = draw.standard_normal((2, rows))
    y = a + draw.standard_normal(rows)
    told = {"a": a, "b": b, "y": y if quantity else np.where(y > 0, "ill", "well")}
    return pa.table(told | ({WEIGHT: draw.integers(1, 5, rows) / 1.0} if weighted else {}))


def schema_of(table, **options):
    return schemas.infer(
        table.drop_columns([WEIGHT] if WEIGHT in table.column_names else []),
        DataTable(source="t.csv", target="y", **options),
    )[0]


def pieces_of(table, size=7_000):
    def pieces():
        yield from table.combine_chunks().to_batches(max_chunksize=size)

    return pieces


@pytest.fixture
def gone_on():
    """Fit on a sample, go on with the rest in this process; what was said."""

    def go(model, table, schema):
        sample, rest = table.slice(0, SAMPLE), table.slice(SAMPLE)
        weights = sample[WEIGHT].to_numpy() if WEIGHT in sample.column_names else None
        each = {} if weights is None else {"sample_weight": weights / weights.mean()}
        model.fit(features_of(sample, schema), wanted(target_of(sample, schema)), **each)
        reading, writing = os.pipe()
        feed = Feed(pieces_of(rest), writing)
        try:
            with open(os.devnull, "w") as nowhere:
                channel = Channel(os.dup(nowhere.fileno()))
                job = {FED: reading, "rest": rest.num_rows}
                return go_on(model, job, schema, sample, channel)
        finally:
            feed.close()
            assert feed.whole == (feed.rows == rest.num_rows)

    return go


@pytest.mark.parametrize("weighted", [False, True])
def test_a_model_of_sums_that_goes_on_is_that_of_all_rows_at_once(gone_on, weighted):
    table = table_of(weighted=weighted)
    schema, model = schema_of(table), GaussianNB()
    said = gone_on(model, table, schema)
    weights = table[WEIGHT].to_numpy() if weighted else np.ones(ROWS)
    weights = weights / weights[:SAMPLE].mean()
    once = GaussianNB().fit(features_of(table, schema), target_of(table, schema), weights)
    assert model.theta_ == pytest.approx(once.theta_, abs=1e-9)
    assert model.class_count_ == pytest.approx(once.class_count_)
    # scikit-learn takes a billionth of another piece's variance off again than it added
    assert model.var_ == pytest.approx(once.var_, abs=1e-8)
    assert said["rows"] == ROWS - SAMPLE
    assert 0.4 < said["loss"] < 0.6


def test_the_steps_before_the_last_stay_as_the_sample_taught_them(gone_on):
    table = table_of(quantity=True)
    schema = schema_of(table, task="regression")
    model = make_pipeline(
        StandardScaler(), make_pipeline("passthrough", SGDRegressor(random_state=0))
    )
    said = gone_on(model, table, schema)
    sample = features_of(table.slice(0, SAMPLE), schema)
    assert model[0].mean_ == pytest.approx(sample.mean().to_numpy())
    assert model[-1][-1].t_ > ROWS
    assert said["loss"] == pytest.approx(1.0, abs=0.05)


class Astray(GaussianNB):
    """Learns nothing from a piece but nonsense, and takes no weights there."""

    def partial_fit(self, rows, target):
        self.lost_ = True
        return self

    def predict_proba(self, rows):
        return super().predict_proba(rows) * (np.nan if hasattr(self, "lost_") else 1.0)


def test_a_model_whose_answers_are_no_numbers_in_the_end_is_refused(gone_on):
    table = table_of()
    with pytest.raises(BadEntry, match="Astray went astray"):
        gone_on(Astray(), table, schema_of(table))


@pytest.mark.parametrize(
    ("estimator", "weighted", "words"),
    [
        (HistGradientBoostingClassifier(), False, "has no partial_fit"),
        (make_pipeline(StandardScaler(), MLPClassifier(solver="lbfgs")), False, "no partial_fit"),
        (MLPClassifier(early_stopping=True), False, "set early_stopping=False"),
        (SGDClassifier(class_weight="balanced"), False, "counts the rows of each class"),
        (SGDClassifier(loss="log_loss"), True, ""),
        (make_pipeline(StandardScaler(), GaussianNB()), True, ""),
        (MLPClassifier(), False, ""),
        (Astray(), False, ""),
        (Astray(), True, "weighs no rows in partial_fit"),
    ],
)
def test_what_cannot_go_on_is_told_before_the_search(estimator, weighted, words):
    said = refusal(estimator, "classification", weighted=weighted)
    assert words in said
    assert bool(said) == bool(words)


def test_a_feed_that_nobody_reads_ends_when_it_is_closed():
    reading, writing = os.pipe()
    feed = Feed(pieces_of(table_of()), writing)
    feed.close()
    assert (feed.whole, feed.fault) == (False, None)
    with os.fdopen(reading, "rb") as file:  # and its side of the pipe is closed
        assert len(file.read()) < 1 << 20


@pytest.fixture(scope="module")
def server():
    server = ForkServer(["casemate.stages.train.fit:main"])
    yield server
    server.close()


@pytest.fixture
def train(tmp_path, server):
    """Train in the sandbox, on a sample and a rest; a thread and descriptors must be gone after."""

    def run(code, pieces=None, seconds=120.0, total=None):
        table = table_of()
        rest = table.slice(SAMPLE)
        options = TrainTable(entry="train.py:build", folds=2, rows="all", seed=0)
        scratch = tmp_path / f"scratch{len(list(tmp_path.iterdir()))}"
        study = tmp_path / f"study{len(list(tmp_path.iterdir()))}"
        scratch.mkdir()
        study.mkdir()
        job = {
            "entry": options.entry,
            "schema": msgspec.to_builtins(schema_of(table)),
            "train": msgspec.to_builtins(options),
            "grouped": False,
            "study": str(study),
            "rest": total or rest.num_rows,
        }
        threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
        try:
            with Worker("casemate.stages.train.fit:main", server=server) as worker:
                return worker.run(
                    job,
                    tables=[table.slice(0, SAMPLE).combine_chunks()],
                    inputs={"train.py": textwrap.dedent(code).encode()},
                    scratch=scratch,
                    limits=JobLimits(seconds, 4 * 2**30),
                    required=True,
                    outputs=(SKOPS,),
                    hidden=[tmp_path / "keys"],
                    writable=[study],
                    rows=pieces or pieces_of(rest),
                )
        finally:
            assert threading.active_count() == threads
            assert len(os.listdir("/proc/self/fd")) == descriptors

    return run


HONEST = """
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

def build():
    return make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss"))
"""
EVIL = """
from sklearn.linear_model import SGDClassifier
import os, signal, sys, time

def partial_fit(self, *given, **named):
    {}

SGDClassifier.partial_fit = partial_fit

def build():
    return SGDClassifier(loss="log_loss")
"""


@pytest.mark.slow
def test_in_the_sandbox_the_same_rows_give_the_same_bytes(train):
    once, again = train(HONEST), train(HONEST)
    assert once.files == again.files
    assert once.result["rest"]["rows"] == ROWS - SAMPLE
    assert once.findings == []
    assert {"namespaces", "seccomp"} & set(once.isolation)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("does", "seconds", "kind"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", 60.0, "killed"),
        ("time.sleep(600)", 12.0, "timeout"),
        ("raise OSError('no more')", 60.0, "OSError"),
        ("sys.exit()", 60.0, "SystemExit"),
    ],
)
def test_a_job_that_stops_reading_ends_as_failed_and_nobody_waits_for_it(
    train, does, seconds, kind
):
    with pytest.raises(JobFailed) as failed:
        train(EVIL.format(does), seconds=seconds)
    assert failed.value.kind == kind


@pytest.mark.slow
def test_code_that_says_that_it_read_all_rows_and_did_not_is_refused(train):
    lie = "sys.modules['casemate.stages.train.fit'].go_on = lambda *_: {'rows': 58000, 'loss': 0.1}"
    code = EVIL.format("pass").replace("SGDClassifier.partial_fit = partial_fit", lie)
    with pytest.raises(JobFailed, match="the code ended after .* of the rows"):
        train(code)


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 2])
def test_what_goes_wrong_while_rows_are_read_is_what_is_said(train, after):
    def broken():
        for number, piece in enumerate(pieces_of(table_of().slice(SAMPLE))()):
            if number == after:
                raise VerificationError("the data file was changed", hint="")
            yield piece

    with pytest.raises(VerificationError, match="the data file was changed"):
        train(HONEST, broken)


@pytest.mark.slow
def test_fewer_rows_than_were_promised_are_no_model(train):
    with pytest.raises(JobFailed, match="58000 of 58001 rows came"):
        train(HONEST, total=ROWS - SAMPLE + 1)
