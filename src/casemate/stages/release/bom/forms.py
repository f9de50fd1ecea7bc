"""What the formats have in common: how a bill is named in each, and how records are read."""

import uuid
from typing import Any, Literal, TypeVar, get_args

import msgspec

from casemate.core.digest import sha256_record
from casemate.core.errors import ConfigError
from casemate.stages.release.bom.materials import Bill

Form = Literal["cyclonedx-1.7", "cyclonedx-1.6", "spdx-3.0"]
FORMS: tuple[Form, ...] = get_args(Form)
TITLES: dict[Form, str] = {
    "cyclonedx-1.7": "CycloneDX 1.7",
    "cyclonedx-1.6": "CycloneDX 1.6",
    "spdx-3.0": "SPDX 3.0.1",
}
T = TypeVar("T")
_SPACE = uuid.UUID("f0f8b1c2-6b1c-5c5a-9b56-0d5a1f9f2c11")
"""Of our serial numbers; drawn once."""


def serial(bill: Bill, form: Form) -> uuid.UUID:
    """The same of the same content, another one of any other (RFC 9562 section 5.5)."""
    content = msgspec.structs.replace(bill, format="")
    return uuid.uuid5(_SPACE, f"{form} {sha256_record(content)}")


def converted(value: dict[str, Any], kind: type[T], title: str) -> T:
    """A parsed document as records.

    Args:
        value: what stands in the file.
        kind: of the whole document.
        title: of the format.

    Raises:
        ConfigError: it is not what it says that it is, or too deep.
    """
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        told = str(error)[:200] if isinstance(error, msgspec.ValidationError) else "it is too deep"
        raise ConfigError(
            f"this is no {title} document: {told}", hint="validate it with its writer's tool"
        ) from error
