"""Alerts: what somebody says is wrong, and what is known after hearing it in any order.

Messages about one alert come twice, late and in any order: senders try again, several of them run,
and everybody restarts. So what is known of an alert is the join of all that was heard of it
(`joined`): commutative, associative and idempotent. The newest beginning and the newest end count,
each by itself; the alert stands while it began after it ended last. Of the words, those of the
newest episode count, and of several the greatest: an order that does not depend on who came first.
"""

import datetime
from typing import Any, Literal

import msgspec
from msgspec import structs

from casemate.core.digest import sha256
from casemate.core.errors import RequestError
from casemate.core.text import clean
from casemate.core.types import Record

Urgency = Literal["page", "note"]
MOST_LABELS = 32
"""Of one alert. Prometheus adds a handful to those of a rule; more are a mistake of its author."""
MOST_NAME, MOST_LABEL, MOST_TEXT, MOST_LINK = 200, 500, 2_000, 1_000
"""Characters. A text is cut; what makes the identity of an alert is refused when it is longer."""
LATEST = datetime.timedelta(days=1)
"""How far ahead a sender's clock may be: what begins later is refused, because nothing could end
it."""


class Alert(Record, frozen=True, kw_only=True):
    """One alert, as one message says it or as all of them together do."""

    source: str
    """Which system said it, such as `alertmanager`."""
    name: str
    severity: Urgency
    """Wake somebody, or only note it."""
    labels: dict[str, str] = {}
    text: str = ""
    """What was seen."""
    hint: str = ""
    """What to do."""
    link: str = ""
    """Where more is known of it; http or https."""
    began: str
    """As `moment` writes it."""
    ended: str | None = None
    """The newest end that was heard of; before `began`: that of an earlier episode."""
    is_moment: bool = False
    """Whether it happened and has no end, such as a use of emergency access."""

    @property
    def fingerprint(self) -> str:
        """The same for every message about this alert: source, name and labels."""
        return fingerprint(self.source, self.name, self.labels)

    @property
    def stands(self) -> bool:
        """Whether it goes on."""
        return not self.is_moment and (self.ended is None or self.ended < self.began)


def fingerprint(source: str, name: str, labels: dict[str, str]) -> str:
    """128 bits: who sends alerts must not find two that are one."""
    content = msgspec.json.encode([source, name, labels], order="deterministic")
    return sha256(content)[:32]


def joined(one: Alert, other: Alert) -> Alert:
    """What is known after both of the same fingerprint; see the module."""
    words = max(one, other, key=_greatness)
    ends = [found for found in (one.ended, other.ended) if found is not None]
    return structs.replace(words, ended=max(ends, default=None))


def _greatness(alert: Alert) -> tuple[Any, ...]:
    urgent = alert.severity == "page"
    return alert.began, urgent, alert.is_moment, alert.text, alert.hint, alert.link


def moment(time: datetime.datetime) -> str:
    """UTC in microseconds: texts of one length, whose order is that of the times."""
    return time.astimezone(datetime.UTC).isoformat(timespec="microseconds")


def time_of(text: object, what: str) -> datetime.datetime:
    """A time of a message, RFC 3339 or seconds since 1970; RequestError when it is none.

    Args:
        text: as it was sent.
        what: which, for the refusal.
    """
    try:
        if isinstance(text, str):
            found = datetime.datetime.fromisoformat(text.strip())
        elif isinstance(text, int | float) and not isinstance(text, bool):
            found = datetime.datetime.fromtimestamp(text, datetime.UTC)
        else:
            raise TypeError("neither text nor number")
        if found.tzinfo is None:
            raise ValueError("without a time zone")
        return found.astimezone(datetime.UTC)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise RequestError(
            f"{what} is no time: {clean(str(text), 60)!r}",
            hint="RFC 3339 with a time zone, such as 2026-11-29T08:00:00Z",
        ) from error


def made(
    *,
    source: str,
    name: str,
    severity: Urgency,
    labels: dict[str, str],
    began: datetime.datetime,
    now: datetime.datetime,
    ended: datetime.datetime | None = None,
    text: str = "",
    hint: str = "",
    link: str = "",
    is_moment: bool = False,
) -> Alert:
    """An alert of what a stranger sent: bounded, and fit for a terminal.

    Args:
        source: which system.
        name: of the alert.
        severity: how urgent.
        labels: of what.
        began: when; in the future by at most `LATEST`.
        now: the time here.
        ended: when, if it did.
        text: what was seen.
        hint: what to do.
        link: where more is known; one that is no http is left out.
        is_moment: whether it has no end.

    Raises:
        RequestError: it has no name, too many labels, too long ones, or a time in the future.
    """
    name = clean(name.strip(), MOST_NAME + 1)
    if not 0 < len(name) <= MOST_NAME:
        raise RequestError(f"an alert's name has 1 to {MOST_NAME} characters")
    if len(labels) > MOST_LABELS:
        raise RequestError(
            f"the alert {name!r} has {len(labels)} labels, at most {MOST_LABELS} are taken",
            hint="drop labels where the alert is made",
        )
    for key, value in labels.items():
        if len(key) > MOST_LABEL or len(value) > MOST_LABEL:
            raise RequestError(
                f"a label of the alert {name!r} is longer than {MOST_LABEL} characters",
                hint="put what is long into its text",
            )
    if began > now + LATEST or (ended is not None and ended > now + LATEST):
        raise RequestError(
            f"the alert {name!r} has a time that is more than a day ahead",
            hint="set the sender's clock",
        )
    if ended is not None and ended < began:
        raise RequestError(f"the alert {name!r} ended before it began")
    return Alert(
        source=source,
        name=name,
        severity=severity,
        labels={clean(key): clean(value) for key, value in sorted(labels.items())},
        text=clean(text, MOST_TEXT),
        hint=clean(hint, MOST_TEXT),
        link=clean(link, MOST_LINK) if link.startswith(("http://", "https://")) else "",
        began=moment(began),
        ended=None if ended is None else moment(ended),
        is_moment=is_moment,
    )
