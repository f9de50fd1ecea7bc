"""Where the snapshot of advisories lies, and whose signature counts on it."""

from pathlib import Path

from casemate.core.errors import ConfigError, VerificationError
from casemate.core.signatures import Verifier
from casemate.supply.scanners.advisories import NAME
from casemate.wiring import Wiring


def kept_in(project: Wiring) -> Path:
    """Where the snapshot lies, if there is one."""
    return project.state / "advisories" / NAME


def verifier_of(project: Wiring) -> Verifier:
    """Of who signs snapshots: `[scan] advisories_keys`, else this project itself.

    Raises:
        ConfigError: a file is not there. VerificationError: they are no pair of public keys.
    """
    named = project.config.scan.advisories_keys
    hint = "name signer.pub and signer-mldsa65.pub of who signs snapshots"
    if not named:
        return project.signer.verifier
    try:
        return Verifier.from_pem(*((project.root / name).read_bytes() for name in named))
    except OSError as error:
        raise ConfigError(
            f"[scan] advisories_keys: {error.filename}: {error.strerror}", hint=hint
        ) from error
    except VerificationError as error:
        raise VerificationError(f"[scan] advisories_keys: {error.message}", hint=hint) from error
