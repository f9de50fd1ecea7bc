"""The Numenta anomaly benchmark's score, written anew from its definition (Lavin and Ahmad, IEEE
ICMLA 2015): where alarms fall against labelled windows, between a detector that says nothing (0)
and a perfect one (100).
"""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[3] / "shared" / "cases" / "datasets" / "nab"


class Profile(NamedTuple):
    """What a found window, a false alarm and a missed window are worth."""

    found: float
    false: float
    missed: float


PROFILES = {
    "standard": Profile(1.0, 0.11, 1.0),
    "low FP": Profile(1.0, 0.22, 1.0),
    "low FN": Profile(1.0, 0.11, 2.0),
}
PROBATION, LONGEST = 0.15, 5000
"""The first 15 % of a series, at most of 5000 points, are for learning: nothing there counts."""


class Series(NamedTuple):
    """One series with its windows."""

    name: str
    times: list[datetime]
    values: list[float]
    windows: list[tuple[int, int]]
    """First and last row of each."""


def corpus(folder: Path = FOLDER) -> list[Series]:
    """Every series that lies in the folder."""
    labels = json.loads((folder / "labels" / "combined_windows.json").read_text())
    found = []
    for path in sorted(folder.glob("*/*.csv")):
        with path.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        times = [datetime.fromisoformat(row["timestamp"]) for row in rows]
        name = f"{path.parent.name}/{path.name}"
        windows = [
            (times.index(datetime.fromisoformat(start)), times.index(datetime.fromisoformat(end)))
            for start, end in labels[name]
        ]
        found.append(Series(name, times, [float(row["value"]) for row in rows], windows))
    return found


def sigmoid(place: float) -> float:
    """The worth of an alarm by its place: -1 at a window's start, 0 at its end, above 0 behind."""
    return -1.0 if place >= 3 else 2 / (1 + math.exp(5 * place)) - 1


def raw(
    length: int,
    windows: Sequence[tuple[int, int]],
    alarms: Iterable[int],
    profile: Profile,
) -> float:
    """The score of one series, before it is put between null and perfect.

    Args:
        length: number of rows.
        windows: first and last row of each, in order.
        alarms: rows that were called anomalous.
        profile: weights.
    """
    probation = min(math.floor(PROBATION * length), PROBATION * LONGEST)
    best = {at: -profile.missed for at, (_, last) in enumerate(windows) if last >= probation}
    total = 0.0
    for row in alarms:
        if row < probation:
            continue
        inside = [at for at, (first, last) in enumerate(windows) if first <= row <= last]
        if inside:
            first, last = windows[inside[0]]
            place = -(last - row + 1) / (last - first + 1)
            worth = sigmoid(place) * profile.found / sigmoid(-1.0)
            best[inside[0]] = max(best[inside[0]], worth)
            continue
        before = [window for window in windows if window[1] < row]
        place = (row - before[-1][1]) / (before[-1][1] - before[-1][0]) if before else 3.0
        total += sigmoid(place) * profile.false
    return total + sum(best.values())


def score(series: Sequence[Series], alarms: Mapping[str, Sequence[int]], profile: Profile) -> float:
    """The normalised score of all series together: 0 for silence, 100 for a perfect detector."""
    windows = sum(len(one.windows) for one in series)
    total = sum(raw(len(one.times), one.windows, alarms[one.name], profile) for one in series)
    null, perfect = -profile.missed * windows, profile.found * windows
    return 100 * (total - null) / (perfect - null)
