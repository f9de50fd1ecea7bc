"""What of `[data]` does not go together."""

from casemate.config.data import DataTable
from casemate.config.possible.column import impossible_column
from casemate.core.buckets import holds_credentials, is_bucket
from casemate.core.errors import ConfigError

MOST_LABELS = 16
"""Labels of a row at most: the answers to a row are recorded as the bits of one 16-bit number, and
each label is trained, screened and attacked for itself, so that a run takes as many times as long.
Chosen.
"""
CREDENTIALS = "holds credentials: they come from where the AWS SDK finds them"


def require_possible(data: DataTable) -> None:
    """ConfigError when keys of the `[data]` table do not go together."""
    problems = impossible_data(data)
    if problems:
        raise ConfigError("; ".join(problems))


def impossible_data(data: DataTable) -> list[str]:
    """What of `[data]` does not go together."""
    problems = _impossible_source(data.source)
    if data.query and not _is_server(data.source):
        problems.append(
            "[data] query is asked of a database server, and source is none: take query out, or see"
            " to it that the source holds what it would answer"
        )
    if any(
        name in data.columns and data.columns[name].column_class == "identifier"
        for name in data.targets
    ):
        problems.append("[data] the target cannot be an identifier")
    for key in ("subject", "time", "provenance", "weight"):
        if getattr(data, key) in data.targets:
            problems.append(f"[data] {key} and target are the same column")
    if data.weight is not None:
        problems += _impossible_weight(data, data.weight)
    if len(set(data.targets)) < len(data.targets):
        problems.append("[data] target names a column twice")
    if data.several_labels:
        problems += _impossible_labels(data)
    if data.ordinal:
        problems += _impossible_order(data)
    if data.task == "regression" and data.positive is not None:
        problems.append("[data] positive: a quantity has no positive class")
    for name, column in data.columns.items():
        if column.min is not None and column.max is not None and column.min > column.max:
            problems.append(f"[data.columns] {name}: min {column.min} is above max {column.max}")
        problems += [f"[data.columns] {name}: {text}" for text in impossible_column(column)]
    names = [rule.name for rule in data.rules]
    problems += [
        f"[[data.rules]] two rules are called {name!r}"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    return problems


def _impossible_source(source: str | list[str]) -> list[str]:
    if not isinstance(source, str):
        if any(map(is_bucket, source)):
            return ["[data] source: a list names files; a bucket's folder is s3://BUCKET/PREFIX/"]
        return []
    return [f"[data] source {CREDENTIALS}"] if holds_credentials(source) else []


def _is_server(source: str | list[str]) -> bool:
    return isinstance(source, str) and "://" in source and not is_bucket(source)


def impossible_tables(tables: dict[str, str]) -> list[str]:
    """What of `[assess] tables` is no place of a table."""
    return [
        f"[assess] tables.{name} {CREDENTIALS}"
        for name, place in tables.items()
        if holds_credentials(place)
    ]


def _impossible_labels(data: DataTable) -> list[str]:
    problems = []
    if len(data.targets) > MOST_LABELS:
        problems.append(
            f"[data] target: names {len(data.targets)} labels, a project learns up to"
            f" {MOST_LABELS}: make a project for each group of them"
        )
    if data.ordinal:
        problems.append(
            "[data] ordinal: is for the classes of one target; of several labels each is yes or no"
        )
    return problems


def _impossible_order(data: DataTable) -> list[str]:
    if data.task == "regression":
        return ["[data] ordinal: a quantity has an order of its own"]
    problems = (
        ["[data] ordinal: names a class twice"]
        if len(set(data.ordinal)) < len(data.ordinal)
        else []
    )
    if data.positive is not None:
        problems.append(
            "[data] ordinal and positive: say one of them; of ordered classes none is the"
            " positive one"
        )
    return problems + (
        ["[data] ordinal: two classes have no order that a figure could show; leave it out"]
        if len(data.ordinal) < 3
        else []
    )


def _impossible_weight(data: DataTable, name: str) -> list[str]:
    problems = [
        f"[data] weight and {key} are the same column"
        for key in ("subject", "time", "provenance")
        if getattr(data, key) == name
    ]
    said = data.column(name)
    if said.column_class == "identifier" or said.type not in (None, "number"):
        problems.append(
            f"[data.columns] {name}: it is the weight, which is a number and no identifier"
        )
    if said.use:
        problems.append(
            f"[data.columns] {name}: it is the weight, which is never a feature: use = true"
        )
    return problems
