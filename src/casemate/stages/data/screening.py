"""What detectors say of the rows, what people decided about them, and what is left out for it."""

import dataclasses
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from sklearn import config_context
from threadpoolctl import threadpool_limits

from casemate.config import Config
from casemate.controls.keys.subjects import Root
from casemate.core.errors import DataError
from casemate.core.findings import leaks
from casemate.core.threads import fitting
from casemate.core.types import Finding, Quarantined, Schema
from casemate.ml.frame import NO_LABEL, edges_of, range_names, range_of, rarest_of, target_of
from casemate.stages.data.checks import leakage, split
from casemate.stages.data.checks.interface import Answer, CheckedTable
from casemate.stages.data.review import row_digests
from casemate.stages.data.screen import provenance
from casemate.stages.data.screen.duplicates import Duplicates
from casemate.stages.data.screen.floods import Floods
from casemate.stages.data.screen.influence import influence
from casemate.stages.data.screen.interface import Detector, ScreenedRows, Suspicion
from casemate.stages.data.screen.label_noise import LabelNoise
from casemate.stages.data.screen.neighbours import Neighbours
from casemate.stages.data.screen.outliers import Outliers
from casemate.stages.data.screen.spectral import Spectral
from casemate.stages.data.screen.triggers import Triggers
from casemate.stages.data.tools import DataTools, Mask

DETECTORS: dict[str, type[Detector]] = {
    "duplicates": Duplicates,
    "floods": Floods,
    "outliers": Outliers,
    "neighbours": Neighbours,
    "label_noise": LabelNoise,
    "triggers": Triggers,
    "spectral": Spectral,
}
"""Switch in `[screen]` -> detector, in the order in which they run."""
SLOWEST = "label_noise"
"""It takes about as long as all others together."""
DETECTORS_AT_ONCE = 2
"""More would wait for the slowest anyway, and each holds a copy of the table."""
OF_ROWS = ("duplicates", "outliers")
"""Those that ask about whole rows; of several labels the others look at each for itself."""
WITHOUT_LEAKS = ("neighbours", "label_noise", "triggers")
"""Those that ask whether a row's label fits its features."""


def look_for_leaks(
    tools: DataTools, checked: CheckedTable, rows: ScreenedRows
) -> tuple[Answer, ScreenedRows]:
    """(what was found of leaks, the rows with their names): before anything asks whether labels fit
    the features.
    """
    if not tools.leaks:
        return Answer(), rows
    tools.progress("looking for features that know the answer", 2, 6)
    answer = Answer()
    with config_context(skip_parameter_validation=True), fitting(checked.frame.size):
        for view in checked.views:
            found = leakage.check(view)
            answer.findings += _of_label(found.findings, view.schema, checked.labels)
            answer.figures = _largest(answer.figures, found.figures)
    names = leaks(answer.findings, list(rows.frame.columns))
    return answer, dataclasses.replace(rows, leaks=tuple(names))


def suspicious(tools: DataTools, rows: ScreenedRows, holdout: Mask) -> Suspicion:
    """What is suspicious, and where training rows are left out for it: told from training rows
    alone.

    A screen that has seen the labels of the hold-out leaves just those training rows out that
    disagree with them.
    """
    whole, screen = screen_rows(tools, rows), tools.config.screen
    if screen.quarantine != "exclude" and not screen.exclude:
        return whole
    places = np.flatnonzero(~holdout)
    own = screen_rows(tools, rows.only(places)).rows
    kept = [suspect for suspect in whole.rows if holdout[suspect.row]]
    found = [
        *kept,
        *(msgspec.structs.replace(suspect, row=int(places[suspect.row])) for suspect in own),
    ]
    return dataclasses.replace(whole, rows=sorted(found, key=lambda suspect: suspect.row))


def screen_rows(tools: DataTools, rows: ScreenedRows) -> Suspicion:
    """What the detectors find, with as many threads as pay."""
    with config_context(skip_parameter_validation=True), fitting(rows.frame.size):
        return _screened(tools, rows)


def _screened(tools: DataTools, rows: ScreenedRows) -> Suspicion:
    total = Suspicion()
    switches = [switch for switch in DETECTORS if getattr(tools.config.screen, switch)]
    if switches:
        names = ", ".join(switch.replace("_", " ") for switch in switches)
        tools.progress(f"screening for {names}", 2, 6)
    whole = switches if rows.labels is None else [one for one in switches if one in OF_ROWS]
    for found in _at_once(tools.config, rows, whole):
        total.rows += found.rows
        total.findings += found.findings
        total.figures |= found.figures
    if rows.labels is not None:
        _screen_labels(tools.config, rows, [one for one in switches if one not in whole], total)
    total.findings += provenance.findings(rows, total.rows, tools.config.screen)
    if switches:
        total.figures["suspicious_share"] = len({suspect.row for suspect in total.rows}) / len(
            rows.codes
        )
    if tools.config.screen.influence and total.rows:
        tools.progress("measuring the influence of suspicious rows", 3, 6)
        gain = influence(rows, total.rows)
        if gain is not None:
            total.figures["influence"] = gain
    return total


def _screen_labels(
    config: Config, rows: ScreenedRows, switches: list[str], total: Suspicion
) -> None:
    """What the detectors that ask about a label find of each of several, added to `total`: a row
    that one of them suspects for several labels stands there once, under the first.
    """
    known = set()
    for view in rows.views:
        name = view.schema.target
        for found in _at_once(config, view, switches):
            for suspect in found.rows:
                if (suspect.row, suspect.reason) not in known:
                    known.add((suspect.row, suspect.reason))
                    detail = f"label {name!r}: {suspect.detail}"
                    total.rows.append(msgspec.structs.replace(suspect, detail=detail))
            total.findings += _of_label(found.findings, view.schema, rows.labels)
            total.figures = _largest(total.figures, found.figures)


def _of_label(findings: list[Finding], schema: Schema, labels: object) -> list[Finding]:
    """The findings with the label that they are about, where there are several."""
    if labels is None:
        return findings
    return [
        msgspec.structs.replace(finding, message=f"label {schema.target!r}: {finding.message}")
        for finding in findings
    ]


def _largest(figures: dict[str, float], others: dict[str, float]) -> dict[str, float]:
    """The worse of two: of what is suspicious more is worse, of what a screen can tell less."""
    return figures | {
        name: (min if name == "label_screen_auc" else max)(value, figures.get(name, value))
        for name, value in others.items()
    }


def _at_once(config: Config, rows: ScreenedRows, switches: list[str]) -> list[Suspicion]:
    """What each detector found, in their order; the slowest begins, and the others go on beside it.

    Their numeric libraries have one thread each: two fits that share the processors with threads of
    their own would wait for each other.
    """

    def look(switch: str) -> Suspicion:
        seen = rows.honest if switch in WITHOUT_LEAKS else rows
        with config_context(skip_parameter_validation=True), threadpool_limits(1):
            return _found(DETECTORS[switch](), seen, config)

    rows.coded, rows.honest.coded  # noqa: B018 - made once, not by every thread
    first = sorted(switches, key=lambda switch: switch != SLOWEST)
    with (
        warnings.catch_warnings(action="ignore"),  # what one thread ignores comes back in another
        threadpool_limits(1),
        ThreadPoolExecutor(DETECTORS_AT_ONCE) as pool,
    ):
        found = dict(zip(first, pool.map(look, first), strict=True))
    return [found[switch] for switch in switches]


def decisions(tools: DataTools, rows: ScreenedRows, root: Root) -> dict[int, str]:
    """Row -> what people decided, for every row that anybody decided about."""
    if not tools.reviews:
        return {}
    every = np.arange(len(rows.codes))
    digests = row_digests(rows.frame, rows.target, root.pseudonyms, every)
    return {
        row: tools.reviews[digest].decision
        for row, digest in enumerate(digests)
        if digest in tools.reviews
    }


def _found(detector: Detector, rows: ScreenedRows, config: Config) -> Suspicion:
    if rows.frame.shape[1]:
        return detector(rows, config.screen)
    text = (
        f"{detector.id} is inconclusive: every feature may know the answer, and nothing is left to"
        " judge labels by"
    )
    return Suspicion(
        findings=[
            Finding(id="data.label-screen", severity="medium", confidence="high", message=text)
        ]
    )


def judged(suspicion: Suspicion, decided: dict[int, str]) -> list[Finding]:
    """The screen's findings; what a person has looked at row by row no longer blocks."""
    open_detectors = {suspect.reason for suspect in suspicion.rows if suspect.row not in decided}
    looked_at = {f"data.{suspect.reason}" for suspect in suspicion.rows} - {
        f"data.{reason}" for reason in open_detectors
    }
    return [
        (
            msgspec.structs.replace(
                finding, severity="low", message=finding.message + " (every row of it was reviewed)"
            )
            if finding.id in looked_at
            else finding
        )
        for finding in suspicion.findings
    ]


def left_out(
    config: Config, suspects: list[Quarantined], decided: dict[int, str], holdout: Mask
) -> Mask:
    """Rows to leave out: of what the screen found training rows only, of what a person dropped
    every row.

    What a screen dislikes are the rows that models get wrong; a hold-out without those measures
    something else.
    """
    # What a person released is no longer under suspicion; what nobody decided about is.
    suspicious = {suspect.row for suspect in suspects if decided.get(suspect.row) != "released"}
    total = len(holdout)
    share = len(suspicious) / total
    if share > config.screen.cap:
        raise DataError(
            f"{len(suspicious)} of {total} rows ({share:.1%}) are under suspicion, the cap is"
            f" {config.screen.cap:.1%} ({per_detector(suspects)})",
            hint="look at the source of these rows; if they are right, raise [screen] cap",
        )
    left_out = suspicious if config.screen.quarantine == "exclude" else set()
    left_out |= {
        suspect.row
        for suspect in suspects
        if suspect.reason in config.screen.exclude and decided.get(suspect.row) != "released"
    }
    mask = np.zeros(total, dtype=bool)
    mask[sorted(left_out)] = True
    # The hold-out keeps what the screen dislikes, or it would measure an easier table than the
    # world is.
    mask &= ~holdout
    mask[sorted(row for row, decision in decided.items() if decision == "dropped")] = True
    return mask


def per_detector(suspects: list[Quarantined]) -> dict[str, int]:
    """Rows under suspicion per detector, by its name: a record that was read back says it in the
    same order.
    """
    counts: dict[str, int] = {}
    for suspect in suspects:
        counts[suspect.reason] = counts.get(suspect.reason, 0) + 1
    return dict(sorted(counts.items()))


def as_screened(
    table: pa.Table, frame: Any, groups: Any, schema: Schema, config: Config
) -> ScreenedRows:
    """The table as detectors see it: ranges of quantities, and the rarest of several labels, stand
    for the classes that most detectors ask about.
    """
    options, target = config.data, target_of(table, schema)
    codes, quantities, labels = target, None, None
    if schema.labels:
        codes, labels = rarest_of(target), target
        schema = msgspec.structs.replace(schema, classes=[NO_LABEL, *schema.targets])
    if schema.regression:
        edges = edges_of(target[:, 0])
        codes, quantities = range_of(edges, target[:, 0]), target
        schema = msgspec.structs.replace(schema, classes=range_names(edges))
    origin = (
        None
        if options.provenance is None
        else np.asarray(table[options.provenance].cast(pa.string()).to_pylist(), dtype=str)
    )
    time = None if options.time is None else split.time_of(table, options.time)
    return ScreenedRows(
        frame, codes, groups, schema, config.train.seed, origin, time, quantities, labels
    )
