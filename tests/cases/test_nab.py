"""The judge of series on the Numenta anomaly benchmark's series."""

from datetime import UTC

import pytest
from bench.watch import nab

from casemate.watch.anomalies import Detector


@pytest.mark.slow
def test_the_defaults_find_most_incidents_with_few_false_alarms(case):
    series = nab.corpus(case("datasets/nab"))
    alarms = {}
    for one in series:
        detector = Detector()
        times = [moment.replace(tzinfo=UTC) for moment in one.times]
        points = zip(times, one.values, strict=True)
        alarms[one.name] = [
            at for at, point in enumerate(points) if detector.update(*point).anomaly
        ]
    assert nab.score(series, alarms, nab.PROFILES["standard"]) > 66
    assert nab.score(series, alarms, nab.PROFILES["low FP"]) > 58


def test_silence_scores_nothing_and_the_first_row_of_each_window_all(case):
    series = nab.corpus(case("datasets/nab"))
    standard = nab.PROFILES["standard"]
    silent = {one.name: [] for one in series}
    assert nab.score(series, silent, standard) == 0
    perfect = {one.name: [first for first, _ in one.windows] for one in series}
    assert nab.score(series, perfect, standard) == pytest.approx(100)
