"""Messages of other systems, read: Alertmanager's webhook (version 4), Splunk's alert webhook, and
casemate's own form, which everything else can be told to send.

A message is taken whole or not at all: what is refused was not heard, and the sentence says why.
"""

import datetime
import re
from typing import Any

import msgspec

from casemate.core.errors import RequestError
from casemate.core.types import Record
from casemate.respond.alerts import Alert, Urgency, made, time_of

MOST_BYTES = 8 * 2**20
"""Of one message: ten thousand alerts of usual size."""
MOST_ALERTS = 10_000
URGENT = {"page", "critical", "error", "high", "emergency", "fatal"}
"""Values of the label `severity` for which somebody is woken."""
MOST_SOURCE = 63
OWN = "casemate"
"""The source of casemate's own alerts: nobody else may begin or end those."""
TRUNCATED = "AlertsTruncated"
"""Name of the alert that an Alertmanager left alerts out of a message."""
SPLUNK_LABELS = ("model", "dataset", "key", "instance", "job", "host", "severity")
"""What is taken from a row of a search: the others may be anything about anybody."""
_RUN_AT = re.compile(r"_at_(\d{9,11})")
"""When a scheduled search ran, in the id of its job."""


class Post(Record, frozen=True, kw_only=True):
    """One message."""

    alerts: list[Alert]
    over: list[Alert] = []
    """That end if they are known, and are nothing otherwise."""


class ManagerPost(msgspec.Struct, rename="camel"):
    """Alertmanager's: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config."""

    version: str
    group_key: str
    alerts: list["ManagedAlert"]
    truncated_alerts: int = 0


class ManagedAlert(msgspec.Struct, rename="camel"):
    """One alert of it."""

    status: str
    labels: dict[str, str]
    starts_at: str
    ends_at: str = ""
    annotations: dict[str, str] = {}
    generator_url: str = msgspec.field(name="generatorURL", default="")


class SplunkPost(msgspec.Struct):
    """Splunk's alert action `webhook`; who owns the search is not taken."""

    search_name: str
    sid: str
    results_link: str = ""
    app: str = ""
    result: dict[str, Any] = {}


class OwnPost(msgspec.Struct, forbid_unknown_fields=True):
    """Casemate's own form: `{"alerts": [{"name": ...}]}`."""

    alerts: list["OwnAlert"]


class OwnAlert(msgspec.Struct, forbid_unknown_fields=True):
    """One alert of it; times are RFC 3339, or seconds since 1970."""

    name: str
    source: str = "generic"
    severity: str = "page"
    labels: dict[str, str] = {}
    text: str = ""
    hint: str = ""
    link: str = ""
    began: str | float | None = None
    ended: str | float | None = None


def read(body: bytes, now: datetime.datetime) -> Post:
    """The alerts of a message in any of the forms.

    Args:
        body: JSON.
        now: the time, for what has none.

    Raises:
        RequestError: it is none of them, or more than is taken.
    """
    if len(body) > MOST_BYTES:
        raise RequestError(f"a message of more than {MOST_BYTES // 2**20} MiB is not taken")
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        if "groupKey" in fields:
            return _manager(msgspec.json.decode(body, type=ManagerPost), now)
        if "search_name" in fields:
            return _splunk(msgspec.json.decode(body, type=SplunkPost), now)
        if "alerts" in fields:
            return _own(msgspec.json.decode(body, type=OwnPost), now)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"the message is not as expected: {error}") from error
    raise RequestError(
        "the message has neither groupKey (Alertmanager) nor search_name (Splunk) nor alerts",
        hint="docs/how-to/incidents.md shows the forms",
    )


def _require_few(count: int) -> None:
    if count > MOST_ALERTS:
        raise RequestError(f"{count} alerts in one message, at most {MOST_ALERTS} are taken")


def urgency(severity: str) -> Urgency:
    """Whether a foreign word for it wakes somebody."""
    return "page" if severity.strip().lower() in URGENT else "note"


def _manager(said: ManagerPost, now: datetime.datetime) -> Post:
    if said.version != "4":
        raise RequestError(
            f"version {said.version!r} of Alertmanager's webhook is not known, only 4"
        )
    _require_few(len(said.alerts))
    alerts = []
    for one in said.alerts:
        labels = dict(one.labels)
        name = labels.pop("alertname", "")
        notes = one.annotations
        ended = time_of(one.ends_at, "endsAt") if one.status == "resolved" else None
        began = time_of(one.starts_at, "startsAt")
        alerts.append(
            made(
                source="alertmanager",
                name=name or "(no alertname)",
                severity=urgency(labels.get("severity", "")),
                labels=labels,
                # Alertmanager takes a beginning after the end from whoever posts to it
                began=began if ended is None else min(began, ended),
                ended=ended,
                now=now,
                text=notes.get("summary") or notes.get("description") or notes.get("message", ""),
                hint=notes.get("action") or notes.get("runbook_url", ""),
                link=one.generator_url,
            )
        )
    left_out = made(
        source="alertmanager",
        name=TRUNCATED,
        severity="page",
        labels={"groupKey": said.group_key[:500]},
        began=now,
        ended=None if said.truncated_alerts > 0 else now,
        now=now,
        text=f"{said.truncated_alerts} alerts of a group were left out of its message",
        hint="set max_alerts: 0 for this receiver in Alertmanager's configuration",
    )
    if said.truncated_alerts > 0:
        return Post(alerts=[*alerts, left_out])
    return Post(alerts=alerts, over=[left_out])


def _splunk(said: SplunkPost, now: datetime.datetime) -> Post:
    labels = {
        name: str(said.result[name])
        for name in SPLUNK_LABELS
        if isinstance(said.result.get(name), str | int | float)
    }
    if said.app:
        labels["app"] = said.app
    found = _RUN_AT.search(said.sid)
    began = now if found is None else time_of(int(found[1]), "sid")
    alert = made(
        source="splunk",
        name=said.search_name,
        severity=urgency(labels.get("severity", "high")),
        labels=labels,
        began=began,
        now=now,
        text=f"the search {said.search_name} found something",
        hint="look at its results",
        link=said.results_link,
        is_moment=True,  # no message says that it is over
    )
    return Post(alerts=[alert])


def _own(said: OwnPost, now: datetime.datetime) -> Post:
    _require_few(len(said.alerts))
    alerts = []
    for one in said.alerts:
        ended = None if one.ended is None else time_of(one.ended, "ended")
        # who tells of an end may not know the beginning
        began = ended or now if one.began is None else time_of(one.began, "began")
        if not 0 < len(one.source) <= MOST_SOURCE or one.source == OWN:
            raise RequestError(
                f"an alert's source has 1 to {MOST_SOURCE} characters, and is not {OWN!r}"
            )
        alerts.append(
            made(
                source=one.source,
                name=one.name,
                severity=urgency(one.severity),
                labels=one.labels,
                began=began,
                ended=ended,
                now=now,
                text=one.text,
                hint=one.hint,
                link=one.link,
            )
        )
    return Post(alerts=alerts)
