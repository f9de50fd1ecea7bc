"""Hostile feedback: what it does to a model that is trained again, with and without the screens, and
how often an honest source is named.

    python -m bench.respond.feedback [--seeds 20]

Four places tell what became of 2 000 answers. Their people differ (each feature of a place is moved
by up to half a deviation), their labels do not lie. In the hostile half of the runs one place more
tells a share of the rows and turns labels: all of them, or those of one class. The model is trained
again on the table and what the screens let teach; accuracy is of 20 000 fresh rows.
"""

import argparse
import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from casemate.config import FeedbackTable, parse
from casemate.core.types import ColumnSchema, Schema
from casemate.stages.data.lessons import REQUEST, SOURCE
from casemate.stages.data.teach import sources, verdicts
from casemate.stages.data.teach.verdicts import Standing
from casemate.stages.data.tools import DataTools

FEATURES, KNOWN, TOLD, FRESH = 8, 3_000, 2_000, 20_000
PLACES, HOSTILE = ("north", "south", "east", "west"), "night"
SHARES = {"5 %, all turned": (0.05, "all"), "5 %, one class turned": (0.05, "one"),
          "20 %, all turned": (0.2, "all"), "45 %, all turned": (0.45, "all")}  # fmt: skip
TOML = """[project]
name = "b"
id = "b-1"
[data]
source = "t.csv"
target = "y"
[train]
entry = "train.py:build"
"""


def people(count: int, drawn: np.random.Generator, moved: Any = 0.0) -> pd.DataFrame:
    """Rows with their true labels: a curved border, and a tenth of chance."""
    values = drawn.normal(size=(count, FEATURES)) + moved
    z = 1.6 * values[:, 0] - 1.2 * values[:, 1] + values[:, 2] * values[:, 3]
    z += 0.8 * np.abs(values[:, 4]) - 0.6
    labels = drawn.random(count) < 1 / (1 + np.exp(-2.0 * z))
    frame = pd.DataFrame(values, columns=[f"x{place}" for place in range(FEATURES)])
    return frame.assign(y=np.where(labels, "1", "0"))


def schema() -> Schema:
    """Of these rows."""
    numbers = [
        ColumnSchema(name=f"x{place}", type="number", column_class="general")
        for place in range(FEATURES)
    ]
    target = ColumnSchema(name="y", type="category", column_class="general", use=False)
    return Schema(target="y", classes=["0", "1"], columns=[*numbers, target])


def fitted(frame: pd.DataFrame) -> HistGradientBoostingClassifier:
    """A model of rows."""
    return HistGradientBoostingClassifier(max_iter=80, random_state=0).fit(
        frame.iloc[:, :FEATURES], frame.y
    )


def told(drawn: np.random.Generator, share: float, how: str) -> pd.DataFrame:
    """What is told, with who told it as `source`; the truth as `true`."""
    parts = []
    hostile = round(TOLD * share)
    counts = dict.fromkeys(PLACES, (TOLD - hostile) // len(PLACES))
    if hostile:
        counts[HOSTILE] = hostile
    for name, count in counts.items():
        moved = drawn.uniform(-0.5, 0.5, FEATURES)
        rows = people(count, drawn, moved).assign(source=name)
        rows["true"] = rows.y
        if name == HOSTILE:
            turned = (rows.y == "1") | (how == "all")
            rows.loc[turned, "y"] = np.where(rows.y[turned] == "1", "0", "1")
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def screened(known: pd.DataFrame, rows: pd.DataFrame, model: Any) -> tuple[Standing, list[str]]:
    """(what is said of each row, the sources that are named)."""
    table = pa.Table.from_pandas(rows.iloc[:, : FEATURES + 1], preserve_index=False)
    table = table.append_column(REQUEST, pa.array([f"r-{place}/0" for place in range(len(rows))]))
    table = table.append_column(SOURCE, pa.array(rows.source.tolist()))
    standing = Standing.of(table)
    probabilities = model.predict_proba(rows.iloc[:, :FEATURES]).astype(np.float32).astype(float)
    answers, surety = probabilities.argmax(axis=1), probabilities.max(axis=1)
    against = answers != rows.y.astype(int).to_numpy()
    names = rows.source.to_numpy(dtype=object)
    seen = sources.judge(names, against, 1 - surety, sources.strata(answers, surety))
    verdicts.by_source(standing, seen, dict.fromkeys(set(names), "usual"))
    verdicts.by_share(standing, FeedbackTable())
    nothing: Any = None
    tools = DataTools(
        Path(), parse(TOML), Path(), nothing, nothing, nothing, nothing,
        datetime.datetime.now(datetime.UTC), lambda *_: None, None,
    )  # fmt: skip
    beside = pa.Table.from_pandas(known, preserve_index=False)
    verdicts.by_screens(standing, tools, beside, schema(), np.zeros(len(rows), dtype=bool))
    return standing, [one.name for one in seen if one.turned]


def main() -> None:
    """Print a table."""
    threadpool_limits(1)  # small fits on a busy machine wait for threads, not for work
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20)
    seeds = range(parser.parse_args().seeds)
    print(f"{'':24}{'clean':>8}{'all':>8}{'screened':>9}{'worst':>8}{'held':>7}  named, falsely")
    for title, (share, how) in {"honest": (0.0, ""), **SHARES}.items():
        clean, plain, taught, held, named, falsely = [], [], [], [], 0, 0
        for seed in seeds:
            drawn = np.random.default_rng(seed)
            known, fresh = people(KNOWN, drawn), people(FRESH, drawn)
            model, rows = fitted(known), told(drawn, share, how)
            standing, accused = screened(known, rows, model)
            columns = [*known.columns]
            honest = rows[rows.source != HOSTILE]

            def accuracy(more: pd.DataFrame, known=known, fresh=fresh, columns=columns) -> float:
                again = fitted(pd.concat([known, more[columns]], ignore_index=True))
                return float((again.predict(fresh.iloc[:, :FEATURES]) == fresh.y).mean())

            clean.append(accuracy(honest))
            plain.append(accuracy(rows))
            taught.append(accuracy(rows[standing.open]))
            held.append(float(np.mean(~standing.open[(rows.source != HOSTILE).to_numpy()])))
            named += HOSTILE in accused
            falsely += len([one for one in accused if one != HOSTILE])
        worst = min(np.array(taught) - np.array(clean))
        print(
            f"{title:24}{np.mean(clean):8.4f}{np.mean(plain):8.4f}{np.mean(taught):9.4f}"
            f"{worst:8.4f}{np.mean(held):7.1%}  {named} of {len(seeds)}, {falsely}"
        )


if __name__ == "__main__":
    main()
