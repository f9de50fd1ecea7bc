"""The Grafana dashboard, as its JSON model."""

from collections.abc import Sequence
from typing import Any

SCHEMA = 39
"""Version of the model, of Grafana 10.4: newer ones read it and bring it up to date."""
WIDTH, HEIGHT = 12, 8
"""Of a panel, in steps of which 24 are the page's width."""
ASKED = '{route=~"infer|invocations"}'
SECONDS = f"rate(casemate_request_seconds_bucket{ASKED}[5m])"
ROWS = "sum by (model) (rate(casemate_rows_total[1h]))"
PANELS: tuple[tuple[str, str, str, str], ...] = (
    ("Requests", "reqps", f"sum by (status) (rate(casemate_requests_total{ASKED}[5m]))", "status"),
    ("Rows", "rowsps", "sum by (model, version) (rate(casemate_rows_total[5m]))", "model version"),
    (
        "Time of 99 in 100 requests",
        "s",
        f"histogram_quantile(0.99, sum by (le) ({SECONDS}))",
        "",
    ),
    (
        "Answers by class",
        "percentunit",
        f"sum by (model, label) (rate(casemate_labels_total[1h])) / on (model) group_left {ROWS}",
        "model label",
    ),
    (
        "Rows that a guard noticed",
        "percentunit",
        f"sum by (model, guard) (rate(casemate_guarded_total[1h])) / on (model) group_left {ROWS}",
        "model guard",
    ),
    ("Quality, estimated", "none", "casemate_quality_estimated", "model figure"),
    ("Quality, realised", "none", "casemate_quality_realised", "model figure"),
    (
        "Alarms that stand",
        "none",
        "sum by (alarm, model, severity) (casemate_alarm)",
        "severity alarm model",
    ),
    ("Free disk", "bytes", "casemate_disk_free_bytes", "instance"),
    ("Privacy budgets left", "none", "casemate_epsilon_left", "dataset purpose"),
    ("Certificates end in", "s", "casemate_certificate_left_seconds", "certificate"),
    ("Records that wait for the disk", "none", "casemate_unwritten", "instance"),
)
"""Title, unit, expression and the labels that tell lines apart, of each."""


def build(project: str, objectives: Sequence[str]) -> dict[str, Any]:
    """The dashboard.

    Args:
        project: its name.
        objectives: names of those with an error budget.
    """
    panels = list(PANELS)
    for name in objectives:
        spent = f'casemate:slo_bad:increase3d{{slo="{name}"}}'
        budget = f'casemate:slo_budget:requests{{slo="{name}"}}'
        title = f"Error budget of {name} without the last three days"
        panels.append((title, "percentunit", f"1 - {spent} / {budget}", "slo"))
    return {
        "uid": "casemate",
        "title": f"casemate: {project}",
        "schemaVersion": SCHEMA,
        "editable": True,
        "time": {"from": "now-24h", "to": "now"},
        "refresh": "1m",
        "tags": ["casemate"],
        "templating": {
            "list": [
                {"name": "source", "type": "datasource", "query": "prometheus", "label": "data"}
            ]
        },
        "panels": [_panel(number, *panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, title: str, unit: str, expression: str, labels: str) -> dict[str, Any]:
    legend = " ".join("{{" + label + "}}" for label in labels.split()) or title
    source = {"type": "prometheus", "uid": "${source}"}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "datasource": source,
        "gridPos": {
            "x": number % 2 * WIDTH,
            "y": number // 2 * HEIGHT,
            "w": WIDTH,
            "h": HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "targets": [
            {"refId": "A", "datasource": source, "expr": expression, "legendFormat": legend}
        ],
    }
