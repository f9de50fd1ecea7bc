"""Ends that people type."""

from datetime import UTC, datetime

from casemate.core.errors import ConfigError


def moment(text: str) -> datetime:
    """A date, or a time, with UTC where no zone is said.

    Raises:
        ConfigError: it is none.
    """
    try:
        until = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"--until {text!r} is no date", hint="--until 2027-01-31") from error
    return until if until.tzinfo else until.replace(tzinfo=UTC)
