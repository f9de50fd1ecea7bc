"""The gateway as an image: an OCI layout that needs neither Docker nor a registry, or a Dockerfile
for those who build elsewhere.

The image is somebody's base, by digest, and one layer: packages that pip installed from files whose
hashes a lock names. It runs as a user without a name, and begins by verifying the model.
"""

from collections.abc import Sequence
from pathlib import Path

from casemate.core.errors import ConfigError
from casemate.deploy.gateway.words import CMD, COMMAND, ENTRYPOINT, ENVIRONMENT, PACKAGES, USER
from casemate.deploy.images import HINT, is_pinned
from casemate.deploy.templates import environment

__all__ = ["CMD", "COMMAND", "ENTRYPOINT", "ENVIRONMENT", "USER", "dockerfile"]


def dockerfile(base: str, builder: str, locks: Sequence[Path], python: str) -> dict[str, bytes]:
    """A Dockerfile, and the locks that it installs from.

    Args:
        base: what the image is built on, `NAME@sha256:…`.
        builder: an image with pip and the base's Python, `NAME@sha256:…`.
        locks: requirements files with hashes.
        python: the interpreter in the base.

    Raises:
        ConfigError: an image is not named by its digest, or two locks have one name.
    """
    for image in (base, builder):
        # a Dockerfile gets it as it is, so nothing may end its line
        if not is_pinned(image) or not (image.isascii() and image.isprintable()):
            raise ConfigError(f"{image[:200]!r} is not named by its digest", hint=HINT)
    names = [lock.name for lock in locks]
    if len(set(names)) != len(names):
        raise ConfigError("two locks have the same name", hint="rename one")
    said = environment("casemate.deploy.gateway").get_template("Dockerfile.jinja")
    text = said.render(
        base=base,
        builder=builder,
        locks=names,
        environment=ENVIRONMENT,
        packages=PACKAGES,
        user=USER,
        entrypoint=[python, *ENTRYPOINT],
        command=[python, *CMD],
    )
    return {"Dockerfile": text.encode()} | {
        f"locks/{lock.name}": lock.read_bytes() for lock in locks
    }
