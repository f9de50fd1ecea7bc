"""Why somebody does what they do, for the record."""

from casemate.core.errors import Error, RefusedError
from casemate.core.text import clean

MOST_REASON = 500
"""Characters: a reason is a sentence, and every reader of the log gets it."""


def reason_of(text: str, kind: type[Error] = RefusedError) -> str:
    """A reason that is one, without white space around it.

    Args:
        text: as it was given.
        kind: of what is raised where there is none, or it is too long.
    """
    words = clean(text.strip())
    if not words or len(words) > MOST_REASON:
        raise kind(f"a reason of 1 to {MOST_REASON} characters is needed", hint="--reason '...'")
    return words
