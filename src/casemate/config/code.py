"""What of `[train]` says where the model comes from: code, or a file."""

from typing import Annotated

from msgspec import Meta

from casemate.config.table import Table


class CodeOptions(Table, frozen=True, kw_only=True):
    """Where the model comes from."""

    entry: Annotated[
        str,
        Meta(
            description="`FILE.py:FUNCTION` that returns an unfitted scikit-learn estimator.",
            pattern=r"^[^:]+\.py:[A-Za-z_]\w*$(?!\n)",
        ),
    ]
    files: Annotated[
        list[str],
        Meta(description="Further code files that the entry imports, relative to the project."),
    ] = []
    transformers: Annotated[
        list[str],
        Meta(
            description=(
                "Python files with estimators of your own that `entry` imports by the file's name:"
                " signed with the model, and run in a sandbox wherever it is used; see"
                " docs/how-to/own-transformers.md."
            )
        ),
    ] = []
    model: Annotated[
        str | None,
        Meta(
            description=(
                "An imported model file (`casemate model import`) to assess and release instead of"
                " training one."
            )
        ),
    ] = None
    classes: Annotated[
        list[str],
        Meta(
            description=(
                "Of an imported model: the table's class that each of its outputs stands for, in"
                " their order; default: by name or number."
            )
        ),
    ] = []
