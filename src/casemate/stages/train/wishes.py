"""What casemate.toml asks of a model beside its fit: what mistakes cost, which way effects go."""

from casemate.config import Config, is_pattern
from casemate.core.errors import ConfigError
from casemate.core.types import Schema


def costs(schema: Schema, config: Config) -> list[float]:
    """What a wrong answer costs for a row of each class, in their order; of several labels for each
    of them alike.

    Raises:
        ConfigError: the costs are not those of these classes.
    """
    found = [config.train.costs_of(view.classes) for view in schema.views or [schema]]
    return found[0]


def monotone(schema: Schema, config: Config) -> dict[str, int]:
    """Feature -> 1 or -1, as `[data.columns]` declares it.

    Raises:
        ConfigError: it is declared of what is no number among the features, or the target has
            several classes.
    """
    found = {}
    for column in schema.features:
        said = config.data.column(column.name).monotone
        if said is None:
            continue
        if column.type != "number":
            raise ConfigError(
                f"[data.columns] {column.name}: monotone, and it is {column.type}",
                hint="only a number rises and falls",
            )
        found[column.name] = 1 if said == "increasing" else -1
    named = [
        name
        for name, column in config.data.columns.items()
        if column.monotone is not None and not is_pattern(name)
    ]
    lost = next((name for name in named if name not in found), None)
    if lost is not None:
        raise ConfigError(
            f"[data.columns] {lost}: monotone, and it is no feature of the model",
            hint="declare it of a feature, see schema.toml",
        )
    if found and schema.classes and len(schema.classes) != 2:
        raise ConfigError(
            f"[data.columns] {next(iter(found))}: monotone, and the target has"
            f" {len(schema.classes)} classes",
            hint=(
                "of several classes no probability can rise alone: predict one class against the"
                " others"
            ),
        )
    return found
