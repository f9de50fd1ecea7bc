"""What the formats have in common: how a bill is named in each."""

import uuid
from typing import Literal, get_args

import msgspec

from casemate.core.digest import sha256_record
from casemate.stages.release.bom.materials import Bill

Form = Literal["cyclonedx-1.7", "cyclonedx-1.6", "spdx-3.0"]
FORMS: tuple[Form, ...] = get_args(Form)
TITLES: dict[Form, str] = {
    "cyclonedx-1.7": "CycloneDX 1.7",
    "cyclonedx-1.6": "CycloneDX 1.6",
    "spdx-3.0": "SPDX 3.0.1",
}
_SPACE = uuid.UUID("f0f8b1c2-6b1c-5c5a-9b56-0d5a1f9f2c11")
"""Of our serial numbers; drawn once."""


def serial(bill: Bill, form: Form) -> uuid.UUID:
    """The same of the same content, another one of any other (RFC 9562 section 5.5)."""
    content = msgspec.structs.replace(bill, format="")
    return uuid.uuid5(_SPACE, f"{form} {sha256_record(content)}")
