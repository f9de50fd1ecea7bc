"""`[audit]`: witnesses and copies of the log."""

from typing import Annotated

from msgspec import Meta

from casemate.config.table import MOST_HOURS, MOST_MINUTES, Days, Name, Table


class WitnessTable(Table, frozen=True, kw_only=True):
    """Somebody else who keeps the log honest."""

    url: Annotated[
        str,
        Meta(
            description="Submission prefix of the witness (C2SP tlog-witness).",
            pattern=r"^https?://[^\s?#]+$(?!\n)",
        ),
    ]
    keys: Annotated[
        list[str],
        Meta(
            description="Its verifier keys (lines of its witness.vkey); all of them must sign.",
            min_length=1,
        ),
    ]


class AuditTable(Table, frozen=True, kw_only=True):
    """Who else holds a copy of what the log said."""

    witnesses: Annotated[dict[Name, WitnessTable], Meta(description="Per witness: url, keys.")] = {}
    quorum: Annotated[
        int,
        Meta(description="Witnesses that must have cosigned; `audit verify` fails below it.", ge=0),
    ] = 0
    copies: Annotated[
        list[str],
        Meta(
            description=(
                "Where checkpoints are copied: `file:FOLDER`, `git:REPOSITORY`, `s3:BUCKET/PREFIX`"
                " (written under object lock)."
            )
        ),
    ] = []
    retain_days: Annotated[
        Days, Meta(description="Days that S3 object lock keeps a checkpoint.")
    ] = 2190
    max_age_hours: Annotated[
        float,
        Meta(
            description=(
                "With a quorum: hours after which a cosignature no longer vouches for the log;"
                " `audit verify` and `fsck` fail then."
            ),
            gt=0,
            le=MOST_HOURS,
        ),
    ] = 24.0
    every_minutes: Annotated[
        float,
        Meta(
            description=(
                "Minutes between two copies and cosignatures while a gateway serves; runs ask at"
                " their end too."
            ),
            gt=0,
            le=MOST_MINUTES,
        ),
    ] = 15.0


def impossible_audit(audit: AuditTable) -> list[str]:
    """What of `[audit]` does not go together."""
    if audit.quorum > len(audit.witnesses):
        return [
            (
                f"[audit] quorum: {audit.quorum} witnesses are required, {len(audit.witnesses)} are"
                " configured"
            )
        ]
    return []
