"""Windows of answers, judged when they are over: are the inputs and the answers still like the
baseline, how good are the answers while no outcome is known, and how good were they.
"""

import datetime
import math
import zlib
from collections.abc import Mapping

import msgspec
import numpy as np
import pandas as pd
from scipy import stats

from casemate.config import WatchTable
from casemate.core.types import Interval, Record
from casemate.ml.frame import rows_from
from casemate.operations.watching.alarms import Cause
from casemate.operations.watching.answers import Answer, Window, together
from casemate.operations.watching.models import Watched
from casemate.operations.watching.shapes import Shape, shapes
from casemate.stages.assess import intervals
from casemate.watch.baselines import ANSWER, OUTCOME, SCORE, judge, reference
from casemate.watch.budget import FalseAlarms
from casemate.watch.drift import Drift, Finding
from casemate.watch.estimate import Chunk
from casemate.watch.profiles import KINDS
from casemate.watch.tables import Array
from casemate.watch.telemetry import HOUR, Telemetry
from casemate.wiring import Wiring

MOST_ROWS = 20_000
"""Of a window that are read: more find no shift that matters to anybody."""
LATE = 300
"""Seconds after its end that a window waits for records that are still being written."""
MOST_WINDOWS = 30
"""That are put together for want of rows; then what there is is forgotten."""
FEWEST_OUTCOMES = 100
"""Below, a realised figure is chance."""
MOST_JUDGEMENTS = 400
"""That are remembered of a model."""
VALUES = {"unseen", "range", "unreadable"}
"""Kinds of findings whose details quote cells of few rows."""


class Judgement(Record, frozen=True, kw_only=True):
    """What one window of a model's answers showed."""

    model: str
    began: str
    """ISO 8601, as `ended`."""
    ended: str
    rows: int
    drift: Drift | None = None
    """None: not measured."""
    inputs: str = ""
    """Why features were not looked at; empty: they were."""
    unmeasured: str = ""
    """Why nothing was."""
    shapes: list[Shape] = []
    """Columns beside their baseline, those with findings first."""


class Realised(Record, frozen=True, kw_only=True):
    """What the outcomes of a model's answers showed, of all windows that have any."""

    model: str
    rows: int
    """With a known outcome."""
    share: float
    """Of all rows that were answered in these windows."""
    delay: float
    """Mean seconds from answer to outcome."""
    figures: dict[str, Interval]
    """What was realised."""
    promised: dict[str, Interval]
    """The same figures of the hold-out."""
    chunk: Chunk | None = None
    """Of models of classes: what the scores of the same rows promised, beside what was
    realised. The rows are those with an outcome, so that it does not matter which ones these are.
    """


class Until(Record, frozen=True, kw_only=True):
    """How far a model's windows have been judged."""

    window: int
    """The first that is not judged yet."""


def judge_windows(
    project: Wiring,
    telemetry: Telemetry,
    watched: Watched,
    now: datetime.datetime,
    *,
    early: bool = False,
) -> list[Judgement]:
    """Judge what is over of a model's windows, and remember it; within the caller's transaction.

    Args:
        project: whose.
        telemetry: holds the windows.
        watched: the model version.
        now: the time.
        early: judge the rest as well, up to now; it will be judged again when it is over.
    """
    table = project.config.watch
    seconds = table.window_hours * HOUR
    model = watched.reference
    over = int(now.timestamp() - LATE) // seconds
    kept = telemetry.all_kept(f"answers/{model}/", Window)
    before = telemetry.kept(f"judged/{model}", Until)
    first = 0 if before is None else before.window
    gathered: list[int] = []
    found = []
    for text, window in kept.items():
        number = int(text)
        if not first <= number < over or not window.rows:
            continue
        gathered.append(number)
        rows = sum(kept[f"{one:010d}"].rows for one in gathered)
        if number - gathered[0] >= MOST_WINDOWS:
            gathered = [number]
            continue
        if rows >= table.window_rows:
            whole = together([kept[f"{one:010d}"] for one in gathered])
            stretch = gathered[0] * seconds, (gathered[-1] + 1) * seconds
            found.append(_judged(project, watched, whole, stretch))
            first, gathered = number + 1, []
    if found:
        telemetry.keep(f"judged/{model}", Until(window=first))
    rest = {int(text): one for text, one in kept.items() if int(text) >= first and one.rows}
    if early and sum(one.rows for one in rest.values()) >= table.window_rows:
        stretch = min(rest) * seconds, math.ceil(now.timestamp())
        found.append(_judged(project, watched, together(list(rest.values())), stretch))
    for one in found:
        telemetry.keep(f"judgement/{model}/{one.ended}", one)
    _forget(telemetry, model)
    return found


def _forget(telemetry: Telemetry, model: str) -> None:
    for prefix in (f"judgement/{model}/", f"answers/{model}/"):
        names = telemetry.names(prefix)
        for name in names[: max(len(names) - MOST_JUDGEMENTS, 0)]:
            telemetry.forget(prefix + name)


def _judged(
    project: Wiring, watched: Watched, window: Window, stretch: tuple[int, int]
) -> Judgement:
    began, ended = (
        datetime.datetime.fromtimestamp(one, datetime.UTC).isoformat() for one in stretch
    )
    told = {"model": watched.reference, "began": began, "ended": ended, "rows": window.rows}
    if watched.baseline is None:
        why = "this version was signed without a baseline: run and promote it anew"
        return msgspec.convert({**told, "unmeasured": why}, Judgement)
    alarms = _alarms(project.config.watch)
    frame = _asked(project, watched, window, stretch)
    inputs = ""
    if frame is None:
        inputs = 'rows are not kept: [serve] inputs = "sealed" keeps them'
        frame = _answers_only(watched, window)
    judged = reference(
        watched.baseline,
        alarms=alarms,
        importance=watched.importance,
        features=not inputs,
    )
    drift = judged.window(frame)
    drift = msgspec.structs.replace(drift, findings=[_told(one) for one in drift.findings])
    return Judgement(
        model=watched.reference,
        began=began,
        ended=ended,
        rows=window.rows,
        drift=drift,
        inputs=inputs,
        shapes=shapes(watched.baseline, frame, ANSWER, [one.feature for one in drift.findings]),
    )


def _alarms(table: WatchTable) -> FalseAlarms:
    return FalseAlarms.parse(table.false_alarms, 24 / table.window_hours)


def _told(finding: Finding) -> Finding:
    """Without cells of rows: whoever may see what is watched may not see the table."""
    if finding.kind not in VALUES:
        return finding
    text = f"{KINDS[finding.kind]}: {finding.shift:.1%} of rows at least"
    return msgspec.structs.replace(finding, text=text)


def _answers_only(watched: Watched, window: Window) -> pd.DataFrame:
    """One row an answer, from what was counted."""
    scores = _spread(watched.middles, window.scores)
    if watched.schema.regression:
        return pd.DataFrame({ANSWER: scores})
    answers = [name for name, rows in window.labels.items() for _ in range(rows)]
    kept = np.linspace(0, len(answers) - 1, min(len(answers), MOST_ROWS)).astype(int)
    frame = pd.DataFrame({ANSWER: np.array(answers, dtype=object)[kept]})
    # steps are in order, and so are classes: which score stands beside which class says nothing
    frame[SCORE] = (
        scores[np.linspace(0, len(scores) - 1, len(frame)).astype(int)] if len(scores) else np.nan
    )
    return frame


def _spread(middles: Array, counts: list[int]) -> Array:
    """One number a row, at most `MOST_ROWS` of them in the same shares."""
    rows = np.asarray(counts)
    if rows.sum() > MOST_ROWS:
        rows = np.round(rows * (MOST_ROWS / rows.sum())).astype(int)
    return np.repeat(middles, rows)


def _asked(
    project: Wiring, watched: Watched, window: Window, stretch: tuple[int, int]
) -> pd.DataFrame | None:
    """Features, answers and scores of a window's rows; None where rows were not kept, or not of
    half of it: which ones are missing might not be chance.
    """
    since, until = stretch
    share = min(MOST_ROWS / max(window.rows, 1), 1.0)
    ends = (
        datetime.datetime.fromtimestamp(since, datetime.UTC).isoformat(),
        (
            # records are written some moments after the answer
            datetime.datetime.fromtimestamp(until + LATE, datetime.UTC).isoformat()
        ),
    )
    decode = msgspec.json.Decoder(Answer).decode
    parts: list[Mapping[str, Array]] = []
    chosen = held = 0
    for body, content in project.decisions.between(*ends):
        said = decode(body)
        outside = not since <= said.time < until
        if outside or said.model != watched.reference or said.refused or said.part == "shadow":
            continue
        if share < 1 and zlib.crc32(said.id.encode()) / 2**32 >= share:
            continue
        chosen += said.rows
        if content is not None:
            held += said.rows
            parts.append(_columns(watched, said, content))
    if not parts or held < chosen / 2:
        return None
    return pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _columns(watched: Watched, said: Answer, content: bytes) -> dict[str, Array]:
    schema = watched.schema
    rows = rows_from(content, schema)
    columns = (
        dict(rows)
        if isinstance(rows, dict)
        else {column.name: rows[:, at] for at, column in enumerate(schema.features)}
    )
    if schema.regression:
        outputs = np.frombuffer(said.probabilities, "<f8").reshape(said.rows, -1)
        return {**columns, ANSWER: outputs[:, 0]}
    codes = np.frombuffer(said.labels, "<u2")
    columns[ANSWER] = np.array([schema.answer(code) for code in codes.tolist()], dtype=object)
    scores = watched.scores(
        codes,
        np.frombuffer(said.probabilities, "<f4").reshape(said.rows, -1),
    )
    columns[SCORE] = np.full(said.rows, np.nan) if scores is None else scores
    return columns


def realised(telemetry: Telemetry, watched: Watched, table: WatchTable) -> Realised | None:
    """What outcomes showed; None while there are too few.

    Args:
        telemetry: holds the windows.
        watched: the model version.
        table: says how often it may be wrong.
    """
    windows = [
        one
        for one in telemetry.all_kept(f"answers/{watched.reference}/", Window).values()
        if one.outcomes
    ]
    if sum(one.outcomes for one in windows) < FEWEST_OUTCOMES:
        return None
    whole = together(windows)
    count = whole.outcomes
    figures: dict[str, Interval] = {}
    chunk = None
    level = 1 - _alarms(table).chance  # somebody is woken by it, window after window
    if watched.schema.regression:
        mean = whole.error / count
        spread = max(whole.square / count - mean**2, 0.0) ** 0.5
        # of a mean of many errors, by the central limit theorem
        half = float(stats.norm.isf((1 - level) / 2)) * spread / count**0.5
        figures["mae"] = Interval(value=mean, low=max(mean - half, 0.0), high=mean + half)
    else:
        figures["accuracy"] = intervals.share(whole.hits, count, level)
        chunk = _compared(watched, whole, level)
    return Realised(
        model=watched.reference,
        rows=count,
        share=count / max(whole.rows, 1),
        delay=whole.delay / count,
        figures=figures,
        promised={name: one for name, one in watched.metrics.items() if name in figures},
        chunk=chunk,
    )


def _compared(watched: Watched, window: Window, level: float) -> Chunk | None:
    """Estimate and outcome of the same rows."""
    estimator = None if watched.baseline is None else judge(watched.baseline)
    if estimator is None or not sum(window.known):
        return None
    known, positive = np.asarray(window.known), np.asarray(window.positive)
    most = max(known.sum() / MOST_ROWS, 1.0)
    yes, no = np.round(positive / most).astype(int), np.round((known - positive) / most).astype(int)
    scores = np.concatenate([np.repeat(watched.middles, yes), np.repeat(watched.middles, no)])
    outcomes = np.r_[np.ones(yes.sum(), int), np.zeros(no.sum(), int)]
    return estimator.chunk(pd.DataFrame({SCORE: scores, OUTCOME: outcomes}), level=level)


def causes(judgement: Judgement) -> list[Cause]:
    """What of a judgement somebody should know."""
    drift = judgement.drift
    if drift is None:
        return []
    found = []
    label = {"model": judgement.model}
    if drift.findings:
        first = "; ".join(f"{one.feature}: {one.text}" for one in drift.findings[:3])
        rest = f" and {len(drift.findings) - 3} more" if len(drift.findings) > 3 else ""
        found.append(
            Cause(
                name="drift",
                labels=label,
                severity="page" if drift.page else "note",
                text=f"{first}{rest}; quality {drift.quality}: {drift.because}",
                hint="casemate watch report shows each feature beside its baseline",
                is_settled=True,
            )
        )
    if drift.quality == "suffers":
        found.append(
            Cause(
                name="quality-estimated",
                labels=label,
                severity="page",
                text=drift.because,
                hint="casemate model rollback, or train anew with newer rows",
                is_settled=True,
            )
        )
    return found


def causes_realised(found: Realised) -> list[Cause]:
    """What of the outcomes somebody should know."""
    told = []
    label = {"model": found.model}
    for name, interval in found.figures.items():
        promised = found.promised.get(name)
        if promised is None:
            continue
        is_worse = interval.low > promised.high if name == "mae" else interval.high < promised.low
        if is_worse:
            ends = f"{interval.low:.3f} to {interval.high:.3f}"
            text = f"{name} of {found.rows} outcomes is {interval.value:.3f} ({ends})"
            told.append(
                Cause(
                    name="quality-realised",
                    labels={**label, "figure": name},
                    severity="page",
                    text=f"{text}; {promised.value:.3f} was signed",
                    hint="casemate model rollback, or train anew with newer rows",
                )
            )
    if found.chunk is not None and found.chunk.text:
        told.append(
            Cause(
                name="relation-changed",
                labels=label,
                severity="page",
                text=found.chunk.text,
                hint="no estimate without outcomes sees this: train anew with newer rows",
            )
        )
    return told
