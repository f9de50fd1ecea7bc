"""A model that several owners learnt: what each of them says of its rows decides, and silence
decides nothing.
"""

from msgspec import structs
from tests.conftest import TOML
from tests.unit.stages.release.test_gate import records

from casemate.config import parse
from casemate.core.types import Assessment, Federated, Interval, Leak, Stated
from casemate.stages.assess.elsewhere import leaks, of_sites
from casemate.stages.release.gate import judge
from casemate.stages.release.rows import standing

DATASET, MODEL, MEASURED = records()
CONFIG = parse(TOML, ["gates.membership_auc.max=0.6"])


def leak(value: float, rows: int = 50, half: float = 0.01) -> Leak:
    figure = Interval(value=value, low=value - half, high=value + half)
    return Leak(attack="loss-threshold", figure=figure, rows=rows)


def stated(*sites: dict[str, Leak] | None) -> Federated:
    return Federated(
        record="r",
        charter="c",
        job="j",
        coordinator="o",
        rounds=3,
        sites=[f"fingerprint {number}" for number, _ in enumerate(sites)],
        stated=[
            Stated(site=f"ward-{number}", statement="" if one is None else "s", leaks=one or {})
            for number, one in enumerate(sites)
        ],
    )


def gate(found: Assessment, name: str = "membership_auc"):
    verdict = judge(CONFIG, DATASET, MODEL, found)
    return next(one for one in verdict.gates if one.gate == name)


def test_rows_of_the_coordinator_pass_no_gate_for_a_site_that_says_nothing():
    calm = structs.replace(MEASURED, membership={"auc": {"value": 0.5, "low": 0.49, "high": 0.51}})
    assert gate(calm).outcome == "passed"
    found = of_sites(calm, stated({"membership_auc": leak(0.5)}, None, None))
    refused = gate(found)
    assert refused.outcome == "inconclusive"
    assert "ward-1, ward-2 did not say what the model tells of the rows" in refused.reason
    assert "casemate federate attest NAME --model FILE" in refused.reason
    (told,) = [one for one in found.findings if one.id == "assess.members-elsewhere"]
    assert told.severity == "medium"
    assert "3 sites" in told.message
    assert "say nothing of theirs" in told.message


def test_the_gate_takes_the_worst_of_all_sites():
    fine = {"membership_auc": leak(0.52)}
    found = of_sites(MEASURED, stated(fine, {"membership_auc": leak(0.8, 30)}, fine))
    assert gate(found).outcome == "refused"
    assert found.membership["site"] == "ward-1"
    assert standing("membership_auc", DATASET, found)[:2] == (30, "rows a side")
    wide = of_sites(MEASURED, stated(fine, {"membership_auc": leak(0.5, half=0.2)}, fine))
    assert gate(wide).outcome == "inconclusive"
    assert gate(of_sites(MEASURED, stated(fine, fine, fine))).outcome == "passed"
    assert not [one for one in wide.findings if one.id == "assess.members-elsewhere"]


def test_a_figure_that_one_site_could_not_measure_is_inconclusive_for_all():
    both = {"membership_auc": leak(0.5), "lira_auc": leak(0.5)}
    found = of_sites(MEASURED, stated(both, {"membership_auc": leak(0.5)}))
    assert "lira_auc" not in found.figures
    assert "lira: lira_auc was not measured at ward-1, and it takes all sites" in found.inconclusive
    assert gate(found).outcome == "passed"


def test_figures_that_no_model_of_a_quantity_has_are_missed_at_no_site():
    all_of_them = ("membership_auc", "membership_tpr_at_1_fpr", "lira_auc", "lira_tpr_at_1_fpr")
    both = {name: leak(0.5) for name in (*all_of_them, "attribute_advantage")}
    of_classes = of_sites(MEASURED, stated(both, both))
    assert [text.partition(":")[0] for text in of_classes.inconclusive] == ["membership", "lira"]
    found = of_sites(MEASURED, stated(both, both), regression=True)
    assert not found.inconclusive
    assert found.membership["auc"]["value"] == 0.5


def test_a_model_of_before_sites_could_say_anything_is_inconclusive():
    old = structs.replace(stated(None, None), stated=[])
    assert "fingerprint " in gate(of_sites(MEASURED, old)).reason
    assert gate(of_sites(MEASURED, old)).outcome == "inconclusive"


def test_who_waits_for_figures_of_rows_that_noise_covers_is_told_that_there_are_none():
    assert "rows that noise covers" in gate(of_sites(MEASURED, stated(None))).reason


def test_what_is_measured_at_home_leaves_as_it_was_measured_and_nothing_else():
    auc = {"value": 0.5, "low": 0.4, "high": 0.6}
    lira = Interval(value=0.6, low=0.5, high=0.7)
    own = structs.replace(
        MEASURED,
        membership={"attack": "loss-threshold", "auc": auc, "rows_per_side": 40},
        leakage={"lira": {"attack": "lira-online", "rows_per_side": 30, "members": 120}},
        figures={"lira_auc": lira, "shift_auc": lira},
    )
    assert leaks(own) == {
        "membership_auc": Leak(attack="loss-threshold", figure=Interval(**auc), rows=40),
        "lira_auc": Leak(attack="lira-online", figure=lira, rows=30),
    }
