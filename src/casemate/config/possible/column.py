"""What of a column's entry does not go together."""

from casemate.config.column import ColumnTable
from casemate.config.table import SPANS


def impossible_column(column: ColumnTable) -> list[str]:
    """What a column's entry says that its own `type` makes meaningless: nothing that is written is
    ignored.
    """
    number, time = (column.type in (None, kind) for kind in ("number", "time"))
    meaningless = {
        "min": column.min is not None and not number,
        "max": column.max is not None and not number,
        "unit": column.unit is not None and not number,
        "monotone": column.monotone is not None and not number,
        "decimal": column.decimal is not None and not number,
        "censored": column.censored and not number,
        "coerce": column.coerce and not (number or time),
        "categories": column.categories is not None and column.type not in (None, "category"),
        "format": column.format is not None and not (number if column.format in SPANS else time),
        "since": column.since is not None and "days" not in column.parts,
    }
    problems = [
        f'{key} says nothing of type = "{column.type}"'
        for key, wrong in meaningless.items()
        if wrong and key != "since"
    ]
    if meaningless["since"]:
        problems.append('since needs parts = ["days"]')
    if "days" in column.parts and column.since is None:
        problems.append('parts = ["days"] needs since')
    if "words" in column.parts and (
        column.type not in (None, "text", "category") or len(column.parts) > 1
    ):
        problems.append("words are made of text, and of nothing else beside")
    if column.parts and "words" not in column.parts and column.type != "time":
        problems.append('calendar parts need type = "time"')
    if column.column_class == "identifier":
        said = (
            "min",
            "max",
            "unit",
            "monotone",
            "decimal",
            "censored",
            "coerce",
            "categories",
            "format",
            "parts",
        )
        problems += [
            f"{key} says nothing of an identifier"
            for key in said
            if getattr(column, key) not in (None, False, [])
        ]
        problems += ["an identifier is never a feature: use = true"] if column.use else []
    return problems
