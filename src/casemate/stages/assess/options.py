"""Options of the assessment, held against the table and what is installed before anything is
trained: a typo must cost neither hours nor epsilon.
"""

import difflib

from casemate.config import BehaviourTable, Config, is_pattern
from casemate.core.errors import ConfigError
from casemate.core.types import Schema
from casemate.ml.attacks import second


def available(config: Config) -> None:
    """BackendError where an option asks for a library that is not installed."""
    if config.robustness.second_opinion == "art":
        second.installed()


def check(config: Config, schema: Schema) -> None:
    """ConfigError where an option names what is no feature of the table, or a test of behaviour
    asks for what it cannot have.
    """
    for name in config.assess.slices:
        _require_feature("[assess] slices", name, schema)
    for name in config.robustness.features:
        if not is_pattern(name):
            _require_feature("[robustness.features]", name, schema)
    for test in config.assess.behaviour:
        _require_feature("[assess] behaviour", test.feature, schema)
        _check_behaviour(test, schema)


def _require_feature(option: str, name: str, schema: Schema) -> None:
    features = [column.name for column in schema.features]
    if name in features:
        return
    close = difflib.get_close_matches(name, features, n=1)
    why = (
        "is a column and no feature"
        if name in [column.name for column in schema.columns]
        else "is no column of the table"
    )
    raise ConfigError(
        f"{option}: {name!r} {why}",
        hint=(
            f"did you mean {close[0]!r}?" if close else f"features are: {', '.join(features[:12])}"
        ),
    )


def _check_behaviour(test: BehaviourTable, schema: Schema) -> None:
    kind, wanted = (
        schema.column(test.feature).type,
        ("number" if test.add is not None else "category"),
    )
    if kind != wanted:
        raise ConfigError(
            f"[assess] behaviour: {test.name}: {test.feature!r} is a {kind}",
            hint="`add` is for numbers, `to` for categories",
        )
    if test.expect != "same" and (
        len(schema.further) if schema.regression else len(schema.classes) != 2
    ):
        raise ConfigError(
            f"[assess] behaviour: {test.name}: up and down are for binary targets, or one quantity",
            hint='expect = "same"',
        )
