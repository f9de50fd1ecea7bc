"""What every record is, and what is in most of them."""

from typing import Literal

import msgspec

FORMAT = 1
Severity = Literal["low", "medium", "high"]
Outcome = Literal["passed", "refused", "inconclusive"]


def number_text(value: float) -> str:
    """A figure for people: four decimals, or four digits where it is very small or large."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.4g}"


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen value with named fields and strict JSON."""

    def to_json(self) -> bytes:
        """This record as indented JSON with a final newline."""
        return (
            msgspec.json.format(msgspec.json.encode(self, order="deterministic"), indent=2) + b"\n"
        )


class Finding(Record, frozen=True, kw_only=True):
    """Something that a person should look at."""

    id: str
    """Stable identifier of the check, such as `data.label-noise`."""
    severity: Severity
    """`high` blocks a release."""
    confidence: Severity
    """How sure the check is."""
    message: str
    """What was seen, in one sentence, without personal data."""
    location: str = ""
    """File, column or rows."""
