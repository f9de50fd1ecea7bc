"""`[sandbox]`: how training code is confined."""

from typing import Annotated, Literal

from msgspec import Meta

from casemate.config.table import Table


class SandboxTable(Table, frozen=True, kw_only=True):
    """How the training code is confined."""

    mode: Annotated[
        Literal["require", "prefer"],
        Meta(
            description=(
                "`require` refuses where the kernel cannot confine; `prefer` runs and records a"
                " finding that blocks no gate."
            )
        ),
    ] = "require"
