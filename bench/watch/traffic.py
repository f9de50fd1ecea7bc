"""Answers of a served model on record, as a gateway leaves them, at any times."""

import datetime
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from casemate.config import locate
from casemate.controls.audit.predictions import Committer, Prediction, append, request_id
from casemate.core.digest import sha256
from casemate.ml.frame import Rows, features_of, rows_bytes
from casemate.operations.project import Project
from casemate.serve.endpoint import Endpoint
from casemate.watch.telemetry import Sample, Series

GROUP = 500


class MovableClock:
    """Tells whatever time it is told."""

    def __init__(self, time: float) -> None:
        self.time = time

    def now(self) -> datetime.datetime:
        """See `casemate.core.clock.Clock`."""
        return datetime.datetime.fromtimestamp(self.time, datetime.UTC)


def opened(root: Path, time: float, overrides: Sequence[str] = ()) -> Project:
    """A project in which it is any time, in seconds since 1970."""
    return Project(*locate(root, list(overrides)), clock=MovableClock(time))


def answer(
    project: Project,
    reference: str,
    frame: pd.DataFrame,
    times: Iterable[float],
    *,
    keeps_rows: bool = True,
    caller: str = 'Service::"app"',
    micros: int = 900,
) -> list[str]:
    """Let a model answer rows one by one, and record it; returns the request ids.

    Args:
        project: of `opened`; its clock follows.
        reference: `NAME@VERSION`.
        frame: rows as the table has them.
        times: when each is answered, ascending.
        keeps_rows: as `[serve] inputs = "sealed"`.
        caller: who asks.
        micros: how long an answer takes.
    """
    endpoint = Endpoint.load(project.registry.verify(reference), project.config.serve)
    import pyarrow as pa

    schema = endpoint.schema
    features = features_of(pa.Table.from_pandas(frame, preserve_index=False), schema)
    columns = {name: features[name].to_numpy() for name in features.columns}
    rows: Rows = columns if schema.categories else features.to_numpy(float)
    codes, outputs = endpoint.predict(rows)
    writer, commits, ids = secrets.token_hex(6), Committer(), []
    group = []
    encode = msgspec.json.Encoder().encode
    for number, time in enumerate(times):
        part: Rows = (
            {name: values[number : number + 1] for name, values in columns.items()}
            if isinstance(rows, dict)
            else rows[number : number + 1]
        )
        content = rows_bytes(part)
        identifier = request_id(writer, number)
        said = Prediction(
            id=identifier,
            time=round(float(time), 3),
            principal=caller,
            token="t",
            model=reference,
            part="live",
            rows=1,
            input=sha256(content),
            labels=np.asarray(codes[number : number + 1], "<u2").tobytes(),
            probabilities=outputs[number : number + 1].astype(endpoint.wire).tobytes(),
            shown="all",
            guards={},
            micros=micros,
        )
        ids.append(identifier)
        group.append(commits(number, encode(said), content if keeps_rows else None))
        if len(group) == GROUP:
            _write(project, writer, group, time)
            group = []
    if group:
        _write(project, writer, group, time)
    project.log.publish()
    return ids


def _write(project: Project, writer: str, group: list, time: float) -> None:
    project.clock.time = time
    with project.database.transaction() as tx:
        append(project.log, tx, writer, group)


def samples(series: Series, times: Iterable[float], values: Iterable[float]) -> list[Sample]:
    """Samples of one series."""
    return [Sample(series, float(t), float(v)) for t, v in zip(times, values, strict=True)]
