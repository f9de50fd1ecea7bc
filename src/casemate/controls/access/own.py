"""The project's own policy files, as they lie in its folder."""

from pathlib import Path

from casemate.core.errors import ConfigError
from casemate.core.files import directly

MAX_POLICY_BYTES = 1024 * 1024
MAX_FILES = 200


def read_folder(folder: Path) -> dict[str, str]:
    """The project's own policy files by name; ConfigError when one is too large or is not text, or
    the folder cannot be read.
    """
    found: dict[str, str] = {}
    try:
        paths = directly(folder, ".cedar")
    except OSError as error:  # an empty set would lift what the policies forbid
        raise ConfigError(
            f"the policies in {folder} cannot be read: {error.strerror}",
            hint="let this user read the folder",
        ) from error
    for path in paths:
        if len(found) == MAX_FILES or path.stat().st_size > MAX_POLICY_BYTES:
            raise ConfigError(
                f"the policy file {path} is larger than 1 MiB, or there are more than {MAX_FILES}",
                hint="remove what is not needed",
            )
        try:
            found[path.name] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"the policy file {path} is not UTF-8 text", hint="correct the .cedar file"
            ) from error
    return found
