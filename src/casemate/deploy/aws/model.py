"""What is rendered about one model: which it is, by its signature, and what its approvals say."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from casemate.config import Config
from casemate.core.errors import ConfigError, RefusedError
from casemate.stages.release import admission, bundle, carried
from casemate.stages.release.trust import given_keys, signed

Status = Literal["Approved", "PendingManualApproval", "Rejected"]
"""As SageMaker's registry calls it."""
MOST_KEYS, MOST_KEY = 20, 256 * 1024
"""Files of public keys, and bytes of one."""


@dataclass(frozen=True)
class Chosen:
    """A verified model."""

    name: str
    version: int
    stage: str
    digest: str
    """SHA-256 of its `model.sig`, in hexadecimal."""
    status: Status
    why: str
    """In one line."""

    @property
    def reference(self) -> str:
        """`NAME@VERSION`."""
        return f"{self.name}@{self.version}"


def chosen(config: Config, path: Path, keys: Path) -> Chosen:
    """The model in a folder, and its status by signed approvals and withdrawals. Until when a
    waiver holds is asked when it is started, not here: the same files give the same rendering.

    Args:
        config: how many must have approved it, and for which stage.
        path: an exported model, or an image layout with one.
        keys: folder with the public keys that are trusted.

    Raises:
        ConfigError: there is no model, or there are no keys.
        VerificationError: it was changed, or somebody else signed it.
        RefusedError: it is signed for another stage.
    """
    admission.require_apart(path, [keys])
    found = carried.read(path)
    trusted = given_keys([keys])
    verified, verifier = signed(found, None, trusted)
    card = verified.card
    if card.stage != config.serve.stage:
        raise RefusedError(
            f"{card.name}@{card.model_version} is signed for the stage {card.stage!r}, [serve]"
            f" stage is {config.serve.stage!r}",
            hint="set [release] stage and run, or [serve] stage",
        )
    wanted = max(1, config.release.approvals)
    people = sorted(admission.approvers(verified, found, verifier))
    status: Status = "Approved" if len(people) >= wanted else "PendingManualApproval"
    why = f"{len(people)} of {wanted} approvals for {card.stage}"
    if status == "Approved":
        why += f": {', '.join(people)}"
    try:
        admission.require_not_withdrawn(verified, found, trusted.withdrawn, verifier)
    except RefusedError as error:
        status, why = "Rejected", error.message
    digest = bundle.digest_of(found.bundle)
    return Chosen(card.name, card.model_version, card.stage, digest, status, why)


def public_keys(folder: Path) -> dict[str, bytes]:
    """Files with public keys, by name; none if there is no such folder.

    Raises:
        ConfigError: something in it is no small file, or there are too many.
    """
    if not folder.is_dir():
        return {}
    found = {}
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_KEY:
            raise ConfigError(
                f"{path} is no file of public keys", hint="only what `.casemate/public` has"
            )
        found[path.name] = path.read_bytes()
    if len(found) > MOST_KEYS:
        raise ConfigError(f"{folder} has more than {MOST_KEYS} files", hint="public keys only")
    return found
