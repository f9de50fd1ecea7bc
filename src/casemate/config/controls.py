"""`[controls]`: how old the facts behind controls may be, and where two of them lie."""

from typing import Annotated

from msgspec import Meta

from casemate.config.table import Count, Days, Table


class ControlsTable(Table, frozen=True, kw_only=True):
    """What `casemate controls check` holds the project against."""

    backups: Annotated[
        str,
        Meta(
            description=(
                "Folder in which backups lie, so that the newest one can be looked at; empty: that"
                " one was made is known, and no more."
            )
        ),
    ] = ""
    backup_days: Annotated[Days, Meta(description="Days after which a backup is too old.")] = 31
    expectations: Annotated[
        str,
        Meta(
            description=(
                "Table of who must and must not be permitted what, as `casemate access test` reads"
                " it; empty: the policies are not tested."
            )
        ),
    ] = ""
    owners: Annotated[Count, Meta(description="People who may be owner at the same time.")] = 2
    stale_days: Annotated[
        Days, Meta(description="Days without any action after which an account is stale.")
    ] = 90
    review_days: Annotated[
        Days,
        Meta(
            description=(
                "Days within which emergency access, unusual access and closed incidents are"
                " reviewed by somebody."
            )
        ),
    ] = 14
    watch_hours: Annotated[
        float, Meta(description="Hours within which the watcher must have looked.", gt=0, le=8760)
    ] = 24.0
    answers_days: Annotated[
        Days,
        Meta(description="Days that records of answers must be kept at least."),
    ] = 183
