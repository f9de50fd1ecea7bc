"""`casemate deploy prometheus`: scraping, recording and alert rules with their tests, where alerts
go, and a dashboard. For Prometheus 2.42 and Alertmanager 0.25 and newer.

Alerts on a burning error budget follow the multi-window scheme of Beyer and others, The Site
Reliability Workbook (2018), chapter 5. A window's errors are compared with a share of the whole
budget, whose size goes by the traffic of all days, and not with the window's own traffic: one error
in a quiet night uses up next to nothing.
"""

import json
from dataclasses import dataclass
from typing import Any

from casemate.config import LATENCIES, Config, ObjectiveTable
from casemate.core.errors import ConfigError
from casemate.deploy.prometheus import dashboard
from casemate.deploy.prometheus.scenarios import Scenario, scenarios
from casemate.deploy.prometheus.texts import filled, template
from casemate.deploy.templates import environment

ROUTES = "infer|invocations"
"""Routes whose requests count: those that ask a model."""
FEWEST = 10
"""Bad requests below which nobody is told: single ones are seen in the log, not at night."""
FEWEST_ROWS = 100
"""Rows an hour below which a share of them is chance."""


@dataclass(frozen=True)
class Burn:
    """One pair of windows: bad requests of both must exceed their share of the budget."""

    long: str
    short: str
    part: float
    """Length of the short one, the long one as 1."""
    share: float
    """Of the budget of all days, in the long window."""
    severity: str


BURNS = (
    Burn("1h", "5m", 1 / 12, 0.02, "page"),
    Burn("6h", "30m", 1 / 12, 0.05, "page"),
    Burn("1d", "2h", 1 / 12, 0.10, "ticket"),
    Burn("3d", "6h", 1 / 12, 0.10, "ticket"),
)
"""Table 5-8 of the same chapter: spent so, a month's budget lasts 2, 5, 10 and 30 days."""
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


@dataclass(frozen=True)
class Objective:
    """A promise with its expressions."""

    name: str
    table: ObjectiveTable

    @property
    def budget(self) -> float:
        """Share of requests that may be bad."""
        return round(1 - self.table.target, 9)

    @property
    def total(self) -> str:
        """Requests that count, with `WINDOW` for the window."""
        if self.table.kind == "latency":
            return f'sum(increase(casemate_request_seconds_count{{route=~"{ROUTES}"}}[WINDOW]))'
        return (
            f'sum(increase(casemate_requests_total{{route=~"{ROUTES}",status=~"2..|5.."}}[WINDOW]))'
        )

    @property
    def bad(self) -> str:
        """Requests that were not as promised."""
        if self.table.kind == "latency":
            within = (
                "sum(increase(casemate_request_seconds_bucket"
                f'{{route=~"{ROUTES}",le="{self.table.seconds}"}}[WINDOW]))'
            )
            return f"{self.total} - {within}"
        some = f'sum(increase(casemate_requests_total{{route=~"{ROUTES}",status=~"5.."}}[WINDOW]))'
        # without a single bad request there is no such series
        return f"({some} or 0 * {self.total})"


def render(config: Config, authority: bytes, address: str) -> dict[str, bytes]:
    """Every file by its path.

    Args:
        config: of the project.
        authority: PEM of the certificate that vouches for the gateway.
        address: `HOST:PORT` of the gateway, as Prometheus reaches it.

    Raises:
        ConfigError: an objective of `[slo]` says too little.
    """
    for name, table in config.slo.items():
        require_whole(name, table)
    burning = [
        Objective(name, table)
        for name, table in config.slo.items()
        if table.kind in ("availability", "latency")
    ]
    others = {
        kind: [Objective(name, table) for name, table in config.slo.items() if table.kind == kind]
        for kind in ("freshness", "guarded", "quality")
    }
    values: dict[str, Any] = {
        "project": config.project.name,
        "address": address,
        "burning": burning,
        "others": others,
        "burns": BURNS,
        "windows": WINDOWS,
        "fewest": FEWEST,
        "fewest_rows": FEWEST_ROWS,
        "silent": max(10 * config.watch.every, 900),
    }
    told: list[Scenario] = scenarios(burning, others)
    files = {
        "prometheus.yml": _text("prometheus.yml", **values),
        "casemate.rules.yml": _text("rules.yml", **values),
        "casemate.rules.test.yml": _text("tests.yml", scenarios=told, **values),
        "alertmanager.yml": _text("alertmanager.yml", **values),
        "README.md": _text("README.md", **values),
    }
    board = dashboard.build(config.project.name, [one.name for one in burning])
    return {
        **{name: text.encode() for name, text in files.items()},
        "ca.pem": authority,
        "grafana/casemate.json": (json.dumps(board, indent=2) + "\n").encode(),
    }


def require_whole(name: str, table: ObjectiveTable) -> None:
    """Everything that an objective of its kind needs; ConfigError otherwise."""
    if table.kind == "latency" and table.seconds not in LATENCIES:
        raise ConfigError(
            f"[slo.{name}] seconds = {table.seconds:g} is no limit that the gateway counts by",
            hint="one of " + ", ".join(f"{one:g}" for one in LATENCIES),
        )
    wanting = {"freshness": ("most", table.most), "guarded": ("most", table.most)}
    wanting["quality"] = ("least", table.least)
    option, value = wanting.get(table.kind, ("", 0.0))
    if value is None:
        raise ConfigError(
            f"[slo.{name}] kind = {table.kind!r} needs {option!r}",
            hint="casemate config schema says what each means",
        )


def _text(name: str, **values: Any) -> str:
    # every text of the configuration goes through `quoted`
    jinja = environment("casemate.deploy.prometheus")
    jinja.filters["quoted"] = _quoted
    jinja.globals |= {"template": template, "filled": filled}
    return jinja.get_template(f"{name}.jinja").render(**values)


def _quoted(text: str) -> str:
    """A text as YAML has it: in single quotes, within which only these mean something, or, with
    anything unprintable, as JSON, which is YAML too.
    """
    return "'" + text.replace("'", "''") + "'" if text.isprintable() else json.dumps(text)
