"""What a watcher knows, as one HTML page for people."""

import datetime

from casemate.core.page import NOTHING, Bar, Chart, Section, page
from casemate.core.types import Interval
from casemate.operations.watching import alarms
from casemate.operations.watching.alarms import Alarm
from casemate.operations.watching.judged import Judgement, Realised
from casemate.operations.watching.shapes import Shape
from casemate.watch.telemetry import DAY, HOUR, Series, Telemetry
from casemate.wiring import Wiring

SPAN = 7 * DAY
"""Of the pictures over time."""
BARS = 84
"""Of a picture over time: two hours each."""
SHOWN = ("casemate_rows", "casemate_refused", "casemate_guarded", "casemate_seconds")
"""Series with a picture."""
MOST_CHARTS = 24


def draw(project: Wiring, telemetry: Telemetry) -> bytes:
    """The page, UTF-8."""
    now = project.clock.now()
    standing = list(telemetry.all_kept(alarms.PREFIX, Alarm).values())
    judgements = list(telemetry.all_kept("judgement/", Judgement).values())
    newest = {one.model: one for one in judgements}
    open_ = [one for one in standing if one.ended is None]
    pages = sum(one.cause.severity == "page" for one in open_)
    stand = "No alarm stands" if not open_ else f"Alarms that stand: {len(open_)}"
    urgent = f", of which to see to now: {pages}" if pages else ""
    lead = f"{stand}{urgent}. As of {now.isoformat(timespec='minutes')}."
    sections = [
        _alarms(standing),
        _quality(telemetry),
        *(_model(one, judgements) for one in newest.values()),
        _time(telemetry, now),
        _levels(telemetry),
    ]
    return page(f"What is watched of {project.config.project.name}", lead, sections)


def _alarms(found: list[Alarm]) -> Section:
    order = sorted(found, key=lambda one: (one.ended is not None, one.began))
    rows = [
        [
            "ended" if one.ended else one.cause.severity,
            one.cause.name,
            ", ".join(one.cause.labels.values()) or NOTHING,
            one.began,
            one.ended or NOTHING,
            one.cause.text,
            one.cause.hint,
        ]
        for one in order
    ]
    heads = ["", "alarm", "of", "began", "ended", "what was seen", "what to do"]
    return Section("Alarms", "" if rows else "None.", heads=heads, rows=rows)


def _quality(telemetry: Telemetry) -> Section:
    """What outcomes say, beside what was promised and estimated."""
    rows = []
    for one in telemetry.all_kept("realised/", Realised).values():
        for name, interval in one.figures.items():
            promised = one.promised.get(name)
            rows.append([one.model, name, _interval(promised), NOTHING, _interval(interval)])
        for figure in () if one.chunk is None else one.chunk.figures:
            estimated = figure.estimated if figure.moved is None else figure.moved
            told = NOTHING if figure.realised is None else f"{figure.realised:.3f}"
            rows.append(
                [one.model, figure.name, f"{figure.reference:.3f}", _interval(estimated), told]
            )
        days = one.delay / DAY
        rows.append(
            [
                one.model,
                "outcomes known",
                NOTHING,
                NOTHING,
                f"{one.rows} ({one.share:.0%} of rows, after {days:.1f} days)",
            ]
        )
    heads = ["model", "figure", "on the hold-out", "estimated for these rows", "realised"]
    text = (
        "Estimates are of the same rows whose outcomes are known; where a realised figure lies"
        " outside, the relation of features and outcome has changed."
    )
    empty = "No outcomes are known yet: `casemate explain` and the gateway's feedback take them."
    return Section("Outcomes", text if rows else empty, heads=heads, rows=rows)


def _interval(found: Interval | None) -> str:
    return NOTHING if found is None else f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _model(newest: Judgement, judgements: list[Judgement]) -> Section:
    title = f"{newest.model}, {newest.began} to {newest.ended}"
    if newest.drift is None:
        return Section(title, f"Not measured: {newest.unmeasured}.")
    drift = newest.drift
    said = "like the baseline" if not drift.findings else f"{len(drift.findings)} findings"
    text = (
        f"{newest.rows} rows, {drift.tests} tests: {said}. Quality {drift.quality}:"
        f" {drift.because}."
    )
    if newest.inputs:
        text += f" Features were not looked at: {newest.inputs}."
    rows = [
        [
            "page" if one.page else "note",
            one.feature,
            f"{one.shift:.3f}",
            f"{one.importance:.2f}",
            f"{one.chance:.1e}",
            one.text,
        ]
        for one in drift.findings
    ]
    heads = ["", "feature", "shift", "importance", "chance", "what"]
    mine = [one for one in judgements if one.model == newest.model and one.drift is not None]
    points = [
        f"{one.ended}: {len(one.drift.findings)} findings, quality {one.drift.quality}"
        for one in mine[-10:]
        if one.drift
    ]
    charts = [_shape(one) for one in newest.shapes]
    return Section(title, text, points=points, heads=heads, rows=rows, charts=charts)


def _shape(found: Shape) -> Chart:
    top = max([*found.before, *found.now, 1e-9])
    width = 1 / len(found.labels)
    bars = [
        Bar(f"{label}: {now:.1%}, before {before:.1%}", at * width, width, now / top, before / top)
        for at, (label, before, now) in enumerate(
            zip(found.labels, found.before, found.now, strict=True)
        )
    ]
    return Chart(found.feature, bars, [found.labels[0], found.labels[-2]])


def _time(telemetry: Telemetry, now: datetime.datetime) -> Section:
    charts = [
        _over_time(telemetry, series, now.timestamp())
        for name in SHOWN
        for series in telemetry.series(name)
    ][:MOST_CHARTS]
    return Section(f"The last {SPAN // DAY} days, by {SPAN // BARS // HOUR} hours", charts=charts)


def _over_time(telemetry: Telemetry, series: Series, now: float) -> Chart:
    step = SPAN // BARS
    end = (int(now) // step + 1) * step
    start = end - SPAN
    totals, counts = [0.0] * BARS, [0.0] * BARS
    for point in telemetry.points(series, start, end):
        at = (point.at - start) // step
        totals[at] += point.total
        counts[at] += point.count
    values = [
        total if series.kind == "flow" else total / count if count else 0.0
        for total, count in zip(totals, counts, strict=True)
    ]
    top = max(values) or 1.0
    bars = [
        Bar(f"{_day(start + at * step)}: {value:.4g}", at / BARS, 1 / BARS, value / top)
        for at, value in enumerate(values)
        if value
    ]
    return Chart(str(series), bars, [_day(start), f"at most {top:.4g}", _day(end)])


def _day(time: float) -> str:
    return datetime.datetime.fromtimestamp(time, datetime.UTC).strftime("%m-%d %H:%M")


def _levels(telemetry: Telemetry) -> Section:
    rows = []
    for series in telemetry.series():
        point = telemetry.latest(series)
        if series.kind == "level" and point is not None:
            rows.append([str(series), point.value("level"), _day(point.at)])
    return Section("How high things stand", heads=["what", "value", "seen"], rows=rows)
