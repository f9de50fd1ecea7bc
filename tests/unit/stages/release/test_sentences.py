"""What people read: figures by question, sentences first, what to do next, pictures that are true
to scale.
"""

import re
import sys
import tomllib
import types

import msgspec
import numpy as np
import pyarrow as pa
import pytest

import casemate
from casemate import config
from casemate.config import GateTable
from casemate.core import figures, page, progress
from casemate.core.types import ColumnSchema, Finding, GateResult, Interval, Schema, Verdict
from casemate.stages.data import report
from casemate.stages.data.checks.profile import profile
from casemate.stages.release import remedies, summary, tables
from casemate.stages.release.gate import _against, unwatched


def test_every_figure_that_a_gate_may_name_answers_one_question_and_says_what_it_means():
    named = [name for group in figures.GROUPS for name in group.figures]
    assert len(named) == len(set(named))
    assert set(config.FIGURES) - set(named) == set()
    assert all(figures.meaning(name) for name in named)


def test_figures_come_by_question_with_attack_sizes_in_order_and_strangers_at_the_end():
    names = [
        "made_up",
        "robust_accuracy@0.2",
        "later.roc_auc",
        "roc_auc",
        "robust_accuracy@0.05",
        "outliers",
    ]
    found = [(group.title, own) for group, own in figures.grouped(names)]
    assert found == [
        (figures.GOOD.title, ["roc_auc", "later.roc_auc"]),
        (figures.ROBUST.title, ["robust_accuracy@0.05", "robust_accuracy@0.2"]),
        (figures.DATA.title, ["outliers", "made_up"]),
    ]


def test_counts_are_shown_whole_and_shares_with_their_digits():
    assert (figures.shown("outliers", 8.0), figures.shown("roc_auc", 0.5)) == ("8", "0.5000")


@pytest.mark.parametrize(
    ("limit", "sign", "words"),
    [
        (0.8, 1, "the lower end counts, and 0.7000 lies below"),
        (0.75, -1, "the upper end counts, and 0.9000 lies above"),
        (0.95, 1, "the whole interval lies below"),
    ],
)
def test_a_gate_that_does_not_hold_says_which_end_of_the_interval_decides(limit, sign, words):
    assert (
        words
        in _against(Interval(value=0.8, low=0.7, high=0.9), limit, sign, (100, "hold-out rows", 0))[
            1
        ]
    )


def gate(name: str, outcome: str, value: float | None = 0.5, waiver: str = "") -> GateResult:
    return GateResult(
        gate=name, outcome=outcome, value=value, limit=">= 0.7", reason="why", waiver=waiver
    )


def test_every_gate_that_blocks_gets_something_to_do_and_no_other():
    for name in [*config.FIGURES, "findings", "gates"]:
        for outcome in ("refused", "inconclusive"):
            (told,) = summary.advice(
                Verdict(
                    outcome=outcome,
                    gates=[
                        gate("r2", "passed"),
                        gate("brier", outcome, waiver="by"),
                        gate(name, outcome),
                    ],
                )
            )
            assert len(told) > 40
            assert name in ("findings", "gates") or told.startswith(f"{name}: ")
    refused_first = summary.advice(
        Verdict(
            outcome="refused", gates=[gate("roc_auc", "inconclusive"), gate("lira_auc", "refused")]
        )
    )
    assert [text.partition(":")[0] for text in refused_first] == ["lira_auc", "roc_auc"]
    assert summary.advice(Verdict(outcome="passed", gates=[gate("roc_auc", "passed")])) == []


def charts(values: np.ndarray) -> page.Chart:
    table = pa.table({"x": values})
    column = ColumnSchema(name="x", type="number", column_class="general", use=True, nullable=False)
    (found,) = profile(table, Schema(target="y", classes=["0", "1"], columns=[column]))
    return report._chart(found, None, 10)


def test_how_much_95_percent_mean_after_several_looks_is_said():
    assert summary._looks(1) == ""
    assert summary._looks(2).startswith(
        "1 model was judged"
    ) and "wrong in 2.5% of cases for one model, in up to 5.0% for the best of 2" in summary._looks(
        2
    )
    assert "7.5% for the best of 3" in summary._looks(3) and summary._looks(3).startswith(
        "2 models were"
    )
    assert "promises nothing of the best of 40" in summary._looks(40)


def test_a_histogram_is_as_wide_as_its_ranges_and_its_areas_are_shares():
    skewed = charts(np.random.default_rng(0).lognormal(size=4000))
    widths = [bar.width for bar in skewed.bars]
    assert sum(widths) == pytest.approx(1)
    assert max(widths) > 20 * min(widths), "ranges of as many rows each are wide where rows are few"
    areas = np.array([bar.width * bar.height for bar in skewed.bars])
    assert areas.max() < 2.5 * areas.min(), "and the areas say that they hold about as many"
    assert skewed.below[0].startswith("0.0")


def test_few_values_stand_where_they_are_and_a_frequent_one_counts_in_its_range():
    dice = charts(np.repeat([1.0, 2.0, 6.0], 50))
    assert [round(bar.left, 2) for bar in dice.bars] == [0.0, 0.18, 0.9]
    spiked = charts(np.concatenate([np.zeros(2000), np.random.default_rng(0).uniform(1, 10, 2000)]))
    heaviest = max(spiked.bars, key=lambda bar: bar.width * bar.height)
    assert heaviest.left == 0


def test_a_page_shows_code_as_code_and_nothing_that_somebody_wrote_as_markup():
    shown = page.fragment(
        "<b>t</b>", [page.Section("s", "use `casemate check` <i>now</i>", ["`<script>`"])]
    )
    assert (
        "<code>casemate check</code>" in shown
        and "<i>" not in shown
        and "<script>" not in shown
        and "<b>" not in shown
    )


def test_work_shows_itself_in_a_notebook_and_nowhere_else(monkeypatch):
    assert progress.watching() is None
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert isinstance(progress.watching(), progress.Lines)
    monkeypatch.setitem(
        sys.modules, "IPython", types.SimpleNamespace(get_ipython=types.SimpleNamespace)
    )
    assert progress.watching() is None, "IPython on a terminal"


def test_a_run_tells_itself_in_sentences_and_its_card_shows_pictures(finished):
    result = casemate.open(finished).run()  # nothing has changed: the result of the run before
    assert repr(result) == f"<passed: {result.model.reference}, run {result.id}>"
    project = result.model.project
    assert repr(project).startswith("<casemate project 'wdbc' in ")
    assert (
        repr(next(iter(project.datasets.values())))
        == f"<data set {next(iter(project.datasets))}: 569 rows, 32 columns>"
    )
    assert result.summary[0].startswith("Signed, for the purpose")
    assert any("rows that were kept back" in text for text in result.summary)
    shown = result._repr_html_()
    assert "Signed, for the purpose" in shown and "<h2>Verdict</h2>" in shown
    card = (result.folder / "4-release" / "model-card.html").read_text()
    titles = re.findall(r"<h2>(.*?)</h2>", card)
    assert titles[:3] == ["Summary", "Verdict", "How good it is"]
    assert card.count("data:image/png;base64,") >= 2
    assert ">None<" not in card


def finding(name: str, location: str = "", severity: str = "high") -> Finding:
    return Finding(id=name, severity=severity, confidence="high", message="seen", location=location)


def schema_of(*names: str) -> Schema:
    return Schema(
        target="y",
        classes=["0", "1"],
        columns=[ColumnSchema(name=name, type="number") for name in (*names, "y")],
    )


def test_every_kind_of_finding_that_refuses_says_what_to_do_and_leaks_have_their_lines_to_paste(
    config,
):
    seen = [
        finding("data.trigger", "note = x"),
        finding("data.leakage", "owed, late"),
        finding("data.leakage", 'paid "all"'),
        finding("data.order"),
    ]
    seen += [
        finding("data.leakage", "beside", "medium"),
        finding("data.leakage", "weak", "low"),
        finding("made.up"),
    ]
    told = remedies.remedies(
        seen, schema_of("owed", "late", 'paid "all"', "beside", "weak"), config()
    )
    assert [text.partition(":")[0] for text in told] == [
        "leaks",
        "planted trigger",
        "rows that follow their neighbours",
        "made.up",
    ]
    lines = told[0].splitlines()
    block = "\n".join(["[data.columns]", *(line for line in lines if line.startswith('"'))])
    said = tomllib.loads(block)["data"]["columns"]
    assert said == {name: {"use": False} for name in ("owed", "late", 'paid "all"', "beside")}
    assert (
        "quarantine" not in told[0]
        and "casemate model waive findings" in told[0]
        and "casemate data quarantine list" in told[1]
    )
    assert (
        remedies.remedies([finding("data.trigger", severity="medium")], schema_of(), config()) == []
    )
    verdict = Verdict(outcome="refused", gates=[gate("findings", "refused")])
    assert summary.advice(verdict, told) == told


@pytest.mark.parametrize(
    ("limits", "words", "told"),
    [
        (
            {"membership_auc": 0.55},
            (
                "(lira_auc) tells which is which in 59.8% of pairs; half is guessing; the gate"
                " looks at membership_auc, 52.9%."
            ),
            ["lira_auc"],
        ),
        ({"membership_auc": 0.65}, "the gate looks at membership_auc, 52.9%.", []),
        ({"membership_auc": 0.55, "lira_auc": 0.7}, "the gate looks at it.", []),
        ({}, "no gate looks at it.", []),
    ],
)
def test_the_strongest_attack_is_named_and_what_the_gate_looks_at(config, limits, words, told):
    found = {
        "membership_auc": Interval(value=0.529, low=0.5, high=0.54),
        "lira_auc": Interval(value=0.598, low=0.58, high=0.61),
    }
    project = config()
    project = msgspec.structs.replace(
        project, gates={name: GateTable(max=limit) for name, limit in limits.items()}
    )
    model = types.SimpleNamespace(privacy={})
    assert summary._leaks(found, model, project).endswith(words)
    seen = unwatched(project, found)
    assert [(one.severity, one.location) for one in seen] == [("medium", name) for name in told]
    assert all("[gates] lira_auc = { max = 0.55 }" in one.message for one in seen)


def test_rows_that_were_drawn_of_a_table_are_not_called_the_table():
    model = types.SimpleNamespace(mode="plain", went_on=None)
    table = types.SimpleNamespace(rows=60, figures={}, excluded=0, whole=None)
    assert (
        summary._data(table, model)
        == "The table has 60 rows; 0 were under suspicion, none left out."
    )
    table.whole = types.SimpleNamespace(rows=1500)
    assert summary._data(table, model).startswith(
        "Of the table's 1500 rows 60 were drawn; 0 of these"
    )
    model.went_on = types.SimpleNamespace(rows=1200)
    assert summary._data(table, model).endswith(" It learnt from 1200 others too.")


def test_no_visible_miscalibration_is_not_called_none():
    assert (
        summary._calibration({"calibration_error": Interval(value=0.0, low=0.0, high=0.057)})
        == "No miscalibration of its probabilities is visible; they may be off by up to 0.057 (root"
        " mean square)."
    )
    assert "off by 0.012" in summary._calibration(
        {"calibration_error": Interval(value=0.012, low=0.0, high=0.057)}
    )


def test_a_table_of_the_card_that_is_cut_says_how_many_rows_are_missing():
    rows = [[name, 1, 2] for name in range(59)]
    assert (
        tables.first_rows(rows)[-1] == ["and 19 more", "", ""]
        and len(tables.first_rows(rows)) == 41
    )
    assert tables.first_rows(rows[:40]) == rows[:40]
