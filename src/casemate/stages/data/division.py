"""How the rows are divided: which are held out, and whether both sides have what they need."""

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from casemate.config import Config
from casemate.controls.keys.subjects import Root
from casemate.core.errors import DataError
from casemate.core.types import Sides
from casemate.stages.data import notation, sides
from casemate.stages.data.schema import QUANTITIES
from casemate.stages.data.screen.interface import ScreenedRows
from casemate.stages.data.tools import DataTools, Mask


def check_splits(rows: ScreenedRows, groups: np.ndarray[Any, Any] | None, config: Config) -> None:
    """Every class must reach the hold-out and every fold, of several labels both values of each: by
    rows, or by subjects where rows are grouped.
    """
    for view in rows.views:
        label = view.schema.target if rows.labels is not None else ""
        _check_splits(view.codes, groups, config, view.schema.classes, label)


def _check_splits(
    codes: np.ndarray[Any, Any],
    groups: np.ndarray[Any, Any] | None,
    config: Config,
    classes: list[str],
    label: str,
) -> None:
    unit = "rows" if groups is None else "subjects"
    # a fold needs no row of every range
    parts = (
        [codes == code for code in range(len(classes))]
        if config.data.task == "classification"
        else [codes >= 0]
    )
    counts = [int(part.sum()) if groups is None else len(np.unique(groups[part])) for part in parts]
    rarest, folds, share = min(counts), config.train.folds, config.train.test_share
    if int(rarest * (1 - share)) < folds or int(rarest * share + 0.5) < 1:
        what, more = ("rarest class", " of that class") if len(parts) > 1 else ("table", "")
        if len(parts) > 2 and notation.numbers(pa.chunked_array([classes])).null_count == 0:
            more += f"; counts and amounts are quantities: {QUANTITIES}"
        if label:
            what, more = f"rarer value of the label {label!r}", " of it, or leave the label out"
        raise DataError(
            f"the {what} has {rarest} {unit}, too few for {folds} folds and a hold-out of"
            f" {share:.0%}",
            hint=f"lower [train] folds, or collect more{more}"
            + ("" if groups is None else "; check [data] subject"),
        )


def check_sides(rows: ScreenedRows, holdout: Mask, training: Mask, config: Config) -> None:
    """After rows were left out, both sides still have what is needed of every class."""
    if rows.labels is not None:
        for view in rows.views:
            check_sides(view, holdout, training, config)
        return
    kinds = range(len(rows.schema.classes)) if rows.quantities is None else [None]
    for kind in kinds:
        here = np.ones(len(rows.codes), dtype=bool) if kind is None else rows.codes == kind
        sides_ = [here & side for side in (holdout, training)]
        left, kept = [
            int(side.sum()) if rows.groups is None else len(np.unique(rows.groups[side]))
            for side in sides_
        ]
        if left < 1 or kept < config.train.folds:
            what = (
                "the table"
                if kind is None
                else f"class {rows.schema.classes[kind]!r} of {rows.schema.target!r}"
            )
            unit = "rows" if rows.groups is None else "subjects"
            raise DataError(
                f"{what} has {left} {unit} in the hold-out and {kept} to train on, too few for"
                f" {config.train.folds} folds",
                hint=(
                    "collect more of that class, lower [train] folds, or look at what [screen] and"
                    " decisions leave out"
                ),
            )


def divided(
    tools: DataTools, table: pa.Table, rows: ScreenedRows, root: Root
) -> tuple[Sides, Mask, Mask]:
    """(how it was divided, hold-out rows, rows on neither side)."""
    config, share = tools.config, tools.config.train.test_share
    if config.train.split == "ordered":
        return Sides(rule="ordered", share=share), *_newest(rows, config)
    subject = config.data.subject
    key = sides.key_of(root)
    before = (
        tools.previous.sides
        if tools.previous is not None and tools.previous.name == config.dataset_name
        else None
    )
    by = [subject] if subject else _hashed(rows, before)
    how = Sides(rule="hash", share=share, by=by, key=sides.fingerprint(key))
    place = sides.places(
        key, rows.frame if subject else rows.frame[by], table[subject] if subject else None
    )
    codes, names = (
        (rows.codes, rows.schema.classes)
        if rows.quantities is None and rows.labels is None
        else (np.zeros_like(rows.codes), [sides.WHOLE])
    )
    same = before is not None and msgspec.structs.replace(before, thresholds={}, draws=1) == how
    pinned = before.thresholds if before is not None and same else {}
    held, own = sides.divide(
        sides.units_of(place, codes, rows.groups),
        names,
        sides.Need(share, config.train.folds),
        pinned,
    )
    draws = 1 if before is None else before.draws if same else before.draws + 1
    return (
        msgspec.structs.replace(how, thresholds=own, draws=draws),
        held,
        np.zeros(len(held), dtype=bool),
    )


def _hashed(rows: ScreenedRows, before: Sides | None) -> list[str]:
    """The features that a row's place is reckoned from: those of the first version, so that a
    further one draws no other hold-out.
    """
    features = [column.name for column in rows.schema.features]
    if before is not None and before.rule == "hash" and set(before.by) <= set(features):
        return before.by
    return sorted(features)


def _newest(rows: ScreenedRows, config: Config) -> tuple[Mask, Mask]:
    """(the newest rows, those of them on neither side because the same people are among the older
    rows too).
    """
    late = np.zeros(len(rows.codes), dtype=bool)
    late[
        np.argsort(places_in_time(rows), kind="stable")[
            -max(1, round(len(late) * config.train.test_share)) :
        ]
    ] = True
    neither = (
        late & np.isin(rows.groups, rows.groups[~late])
        if rows.groups is not None
        else np.zeros_like(late)
    )
    late &= ~neither
    missing = [
        name
        for view in rows.views
        for code, name in enumerate(view.schema.classes)
        if not np.any(view.codes[late] == code)
    ]
    if missing and rows.quantities is None:
        raise DataError(
            f"the newest {config.train.test_share:.0%} of the rows have no row of class"
            f" {missing[0]!r}",
            hint="raise [train] test_share",
        )
    return late, neither


def places_in_time(rows: ScreenedRows) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Each row's place in time; equal times keep the table's order."""
    place = np.arange(len(rows.codes), dtype=np.int32)
    if rows.time is not None:
        place[np.argsort(rows.time, kind="stable")] = place.copy()
    return place
