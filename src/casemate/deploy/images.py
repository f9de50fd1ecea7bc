"""Images by their digests: a tag may be moved, so what was verified would not be what starts."""

import re

BY_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
HINT = "NAME@sha256:64 hexadecimal digits"


def is_pinned(image: object) -> bool:
    """Whether it names one image for ever."""
    return isinstance(image, str) and BY_DIGEST.fullmatch(image) is not None
