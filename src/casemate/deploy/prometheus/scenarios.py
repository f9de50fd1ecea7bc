"""What the rendered rules are tried with: for every alert a case in which it fires and one in which
it must not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Expected:
    """What an alert is at the end of a scenario."""

    alert: str
    labels: dict[str, str] = field(default_factory=dict)
    fires: bool = True
    numbers: dict[str, object] = field(default_factory=dict)
    """Of its objective, as its text quotes them."""


@dataclass(frozen=True)
class Scenario:
    """Series over time, and the alerts at their end."""

    name: str
    series: dict[str, str]
    """Selector -> values, one a minute, in promtool's notation."""
    at: str
    expected: list[Expected]


class Named(Protocol):
    """An objective."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def table(self) -> Any:
        """Its `[slo]` table."""


UP = 'up{job="casemate",instance="g"}'


def scenarios(burning: Sequence[Named], others: Mapping[str, Sequence[Named]]) -> list[Scenario]:
    """One that fires and one that does not, for every alert."""
    return [
        *_always(),
        *[one for objective in burning for one in _burns(objective)],
        *[one for objective in others["freshness"] for one in _fresh(objective)],
        *[one for objective in others["guarded"] for one in _guarded(objective)],
        *[one for objective in others["quality"] for one in _quality(objective)],
    ]


def _always() -> list[Scenario]:
    page = {"severity": "page"}
    own = {"alarm": "drift", "model": "m@1", "of": "x", "instance": "g", "job": "casemate"}
    alarm = (
        'casemate_alarm{alarm="drift",model="m@1",severity="SEVERITY",of="x",instance="g",'
        'job="casemate"}'
    )
    look = "casemate_watch_look_timestamp_seconds"
    ready = 'casemate_ready{job="casemate",instance="g"}'
    fault = 'casemate_fault{reason="log",job="casemate",instance="g"}'
    where = {"instance": "g", "job": "casemate"}
    return [
        Scenario("it is down", {UP: "0x20"}, "15m", [Expected("CasemateDown", {**page, **where})]),
        Scenario("it is up", {UP: "1x20"}, "15m", [Expected("CasemateDown", fires=False)]),
        Scenario(
            "it lost a scrape or two",
            {UP: "1x14 0 0 1x10"},
            "15m",
            [Expected("CasemateDown", fires=False)],
        ),
        Scenario(
            "not ready", {ready: "0x20"}, "15m", [Expected("CasemateNotReady", {**page, **where})]
        ),
        Scenario("ready", {ready: "2x20"}, "15m", [Expected("CasemateNotReady", fires=False)]),
        Scenario(
            "something does not work",
            {fault: "1x20"},
            "15m",
            [Expected("CasemateFault", {"severity": "ticket", "reason": "log", **where})],
        ),
        Scenario("all works", {fault: "0x20"}, "15m", [Expected("CasemateFault", fires=False)]),
        Scenario(
            "the watcher is silent",
            {look: "0x60"},
            "55m",
            [Expected("CasemateWatcherSilent", {"severity": "ticket"})],
        ),
        Scenario(
            "the watcher looks",
            {look: "0+60x60"},
            "55m",
            [Expected("CasemateWatcherSilent", fires=False)],
        ),
        Scenario(
            "an alarm to see to now",
            {alarm.replace("SEVERITY", "page"): "1x10"},
            "5m",
            [Expected("CasemateAlarm", {**page, **own}), Expected("CasemateNote", fires=False)],
        ),
        Scenario(
            "a note",
            {alarm.replace("SEVERITY", "note"): "1x10"},
            "5m",
            [
                Expected("CasemateAlarm", fires=False),
                Expected("CasemateNote", {**own, "severity": "ticket"}),
            ],
        ),
    ]


def _series(objective: Named, bad: str, all_: str, good: str) -> dict[str, str]:
    """The series that an objective counts, each in promtool's notation."""
    if objective.table.kind == "availability":
        return {
            'casemate_requests_total{route="infer",status="200"}': good,
            'casemate_requests_total{route="infer",status="503"}': bad,
        }
    le = objective.table.seconds
    return {
        f'casemate_request_seconds_bucket{{route="infer",le="{le}"}}': good,
        'casemate_request_seconds_count{route="infer"}': all_,
    }


def _burns(objective: Named) -> list[Scenario]:
    """Of a hundred requests a minute: all are bad for hours, some for days, one is at night."""
    name = objective.name
    # so that a tenth of the budget of a day is spent in it, and a twentieth not in 6 hours
    some = round((1 - objective.table.target) * 16, 6)
    all_bad = _series(objective, "0+100x120", "0+100x120", "0x120")
    some_bad = _series(objective, f"0+{some:g}x1600", "0+100x1600", f"0+{100 - some:.6f}x1600")
    one_bad = _series(objective, "0x302 1x20", "0+100x302 30301+100x20", "0+100x320")
    # of a thousand a minute: a fiftieth of the budget of a day within minutes, no twentieth
    burst = round((1 - objective.table.target) * 1_800, 6)
    some_minutes = _series(
        objective,
        f"0x1529 {burst:g}+{burst:g}x30",
        "0+1000x1560",
        f"0+1000x1529 {1_530_000 - burst:.6f}+{1000 - burst:.6f}x30",
    )
    page, ticket = ({"severity": one, "slo": name} for one in ("page", "ticket"))
    return [
        Scenario(
            f"{name}: every request is bad",
            all_bad,
            "2h",
            [Expected("CasemateBudgetBurnsFast", page)],
        ),
        Scenario(
            f"{name}: some are, for minutes",
            some_minutes,
            "26h",
            [Expected("CasemateBudgetBurnsFast", page)],
        ),
        Scenario(
            f"{name}: some are, all day",
            some_bad,
            "26h",
            [
                Expected("CasemateBudgetBurnsFast", fires=False),
                Expected("CasemateBudgetBurnsSlowly", ticket),
            ],
        ),
        Scenario(
            f"{name}: one is, at night",
            one_bad,
            "5h5m",
            [
                Expected("CasemateBudgetBurnsFast", fires=False),
                Expected("CasemateBudgetBurnsSlowly", fires=False),
            ],
        ),
    ]


def _fresh(objective: Named) -> list[Scenario]:
    days = objective.table.most
    series = 'casemate_model_age_seconds{model="m@1"}'
    labels = {"severity": "ticket", "slo": objective.name, "model": "m@1"}
    return [
        Scenario(
            f"{objective.name}: an old model",
            {series: f"{86_400 * (days + 1):.0f}x20"},
            "15m",
            [Expected("CasemateModelOld", labels, numbers={"most": days})],
        ),
        Scenario(
            f"{objective.name}: a young one",
            {series: f"{86_400 * days / 2:.0f}x20"},
            "15m",
            [Expected("CasemateModelOld", fires=False)],
        ),
    ]


def _guarded(objective: Named) -> list[Scenario]:
    rows = 'casemate_rows_total{model="m",version="1",part="live"}'
    guarded = 'casemate_guarded_total{model="m",version="1",guard="outside"}'
    share = objective.table.most
    many, few = round(100 * min(2 * share, 1.0), 4), round(100 * share / 4, 4)
    labels = {"severity": "ticket", "slo": objective.name, "model": "m"}
    return [
        Scenario(
            f"{objective.name}: many rows are flagged",
            {rows: "0+100x120", guarded: f"0+{many:g}x120"},
            "2h",
            [Expected("CasemateGuardedRows", labels, numbers={"most": share})],
        ),
        Scenario(
            f"{objective.name}: few are",
            {rows: "0+100x120", guarded: f"0+{few:g}x120"},
            "2h",
            [Expected("CasemateGuardedRows", fires=False)],
        ),
    ]


def _quality(objective: Named) -> list[Scenario]:
    figure, least = objective.table.figure, objective.table.least
    series = f'casemate_quality_estimated_high{{model="m@1",figure="{figure}"}}'
    labels = {"severity": "page", "slo": objective.name, "model": "m@1"}
    return [
        Scenario(
            f"{objective.name}: below",
            {series: f"{least * 0.9:g}x20"},
            "15m",
            [Expected("CasemateQualityLow", labels, numbers={"figure": figure, "least": least})],
        ),
        Scenario(
            f"{objective.name}: its interval reaches above",
            {series: f"{least * 1.05:g}x20"},
            "15m",
            [Expected("CasemateQualityLow", fires=False)],
        ),
    ]
