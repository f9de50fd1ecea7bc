"""Whom a person's right is about, as people say it."""

from collections.abc import Callable

from casemate.core.errors import DataError

LONGEST = 500
"""Characters of an identifier."""


def identifier_of(subject: str | Callable[[], str]) -> str:
    """A person's identifier without white space around it; DataError: there is none, as of a form
    whose field was left empty, or it is too long.

    Args:
        subject: the identifier, or what asks for it.
    """
    found = (subject if isinstance(subject, str) else subject()).strip()
    if not found or len(found) > LONGEST:
        raise DataError(
            f"a subject has 1 to {LONGEST} characters", hint="say whom, exactly as the table has it"
        )
    return found
