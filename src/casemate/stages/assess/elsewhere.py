"""What a model that several owners learnt tells of their rows: each of them measures it at home, by
the attacks that everybody has, and the worst of all counts.

What is measured here is about rows that such a model need not have learnt from: it decides nothing.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import structs

from casemate.config import OF_CLASSES, worst
from casemate.core.text import listed
from casemate.core.types import Assessment, Federated, Finding, Interval, Leak, Stated

FIGURES = {
    "membership_auc": ("membership", "membership"),
    "membership_tpr_at_1_fpr": ("membership", "membership"),
    "label_only_auc": ("membership", "labels"),
    "lira_auc": ("lira", "lira"),
    "lira_tpr_at_1_fpr": ("lira", "lira"),
    "memorised_share": ("lira", "lira"),
    "attribute_advantage": ("attribute inference", "attribute"),
}
"""Figure -> (the measurement of `worker.PARTS` that gives it, the attack): those for which rows
that were learnt from are held against others.
"""
PARTS = tuple(dict.fromkeys(part for part, _ in FIGURES.values()))
SHOWN = 5


def leaks(found: Assessment) -> dict[str, Leak]:
    """What a site's own assessment says of its rows, by figure."""
    figures = dict(found.figures)
    if "auc" in found.membership:
        figures["membership_auc"] = msgspec.convert(found.membership["auc"], Interval)
    details = {**found.leakage, "membership": found.membership}
    return {
        name: Leak(
            attack=details[attack]["attack"],
            figure=figures[name],
            rows=details[attack]["rows_per_side"],
        )
        for name, (_, attack) in FIGURES.items()
        if name in figures
    }


def of_sites(found: Assessment, learnt: Federated, *, regression: bool = False) -> Assessment:
    """The assessment with what the sites say in the place of what was measured here.

    A figure is there if every site has measured it; without one of them it is inconclusive, and so
    is the gate on it.

    Args:
        found: what was measured on this project's rows.
        learnt: who learnt the model, and what they say of it.
        regression: the model is of a quantity, so that some figures are nobody's.
    """
    stated = learnt.stated or [Stated(site=one[:12]) for one in learnt.sites]
    silent = [one.site for one in stated if not one.statement]
    missing: dict[str, str] = {}
    figures = {name: one for name, one in found.figures.items() if name not in FIGURES}
    membership: dict[str, Any] = {}
    leakage = {
        name: one
        for name, one in found.leakage.items()
        if name not in {attack for _, attack in FIGURES.values()}
    }
    for name, (part, attack) in FIGURES.items():
        if regression and name in OF_CLASSES:
            continue
        without = [one.site for one in stated if name not in one.leaks]
        if without:
            missing.setdefault(part, _silent(silent) if silent else _unmeasured(name, without))
            continue
        leak, site = _worst(name, stated)
        detail = {"attack": leak.attack, "rows_per_side": leak.rows, "site": site}
        if name == "membership_auc":
            membership = {**detail, "auc": msgspec.to_builtins(leak.figure)}
            continue
        figures[name] = leak.figure
        if attack != "membership":
            leakage.setdefault(attack, detail)
    inconclusive = [
        text for text in found.inconclusive if not text.startswith(tuple(f"{p}:" for p in PARTS))
    ]
    return structs.replace(
        found,
        membership=membership,
        figures=figures,
        leakage=leakage,
        inconclusive=[*inconclusive, *(f"{part}: {why}" for part, why in missing.items())],
        findings=[*found.findings, *_elsewhere(len(stated), silent)],
    )


def _worst(name: str, stated: list[Stated]) -> tuple[Leak, str]:
    """(what the site says whose rows are told worst, its name)."""
    chosen = worst(name, [one.leaks[name].figure for one in stated])
    return next((one.leaks[name], one.site) for one in stated if one.leaks[name].figure == chosen)


def _elsewhere(count: int, silent: list[str]) -> Iterator[Finding]:
    if silent:
        message = (
            f"{count} sites learnt this model from rows that are not here, and figures of"
            f" membership on rows of this project say nothing of theirs: {_silent(silent)}"
        )
        yield Finding(
            id="assess.members-elsewhere", severity="medium", confidence="high", message=message
        )


def _silent(sites: list[str]) -> str:
    return (
        f"{_named(sites)} did not say what the model tells of the rows that it was learnt from; run"
        " `casemate federate attest NAME --model FILE` there, and lay what comes of it into"
        " NAME.statements/ beside the model here (a site gives none of rows that noise covers:"
        " epsilon bounds what is told of those, and the gate is taken out or waived)"
    )


def _unmeasured(name: str, sites: list[str]) -> str:
    return f"{name} was not measured at {_named(sites)}, and it takes all sites"


def _named(sites: list[str]) -> str:
    return listed(sites, SHOWN)
