"""Whose signatures an outsider believes: public keys that were given, or those of their own
projects, and what their owner published beside them.
"""

import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from casemate.controls.audit.entry import signed_by
from casemate.controls.audit.note import COSIGNATURE, parse_keys
from casemate.controls.audit.proof import verify_proof
from casemate.controls.keys import signers
from casemate.core.errors import ConfigError, WrongSigner
from casemate.core.home import CONFIG_HOME
from casemate.core.signatures import Verifier
from casemate.stages.release import admission, bundle, carried

SIGNER_FILES = ("signer.pub", "signer-mldsa65.pub")
LOG_KEY = "log.vkey"
T = TypeVar("T")


@dataclass(frozen=True)
class Trusted:
    """A set of public keys and where they came from."""

    origin: str
    verifier: Verifier | None
    log_vkeys: str | None
    witness_vkeys: str | None = None
    history: bytes | None = None
    withdrawn: tuple[bytes, ...] = ()

    def signers(self, proof: bytes | None) -> Verifier:
        """The present signer and the former ones that it names; a `proof` may show when a former
        one signed.

        Raises:
            WrongSigner: no signer's keys are there.
            VerificationError: the history or the proof does not hold.
        """
        if self.verifier is None:
            raise WrongSigner(
                "no signer's keys were given",
                hint="put signer.pub and signer-mldsa65.pub where --key, [serve] trusted or"
                " [deploy] trusted says",
            )
        if self.history is None:
            return self.verifier

        def signed_at(digest: str) -> datetime.datetime | None:
            if proof is None:
                return None
            if self.log_vkeys is None:
                raise WrongSigner(
                    "no log key was given, so the proof shows nothing", hint="pass --key log.vkey"
                )
            entry = verify_proof(proof, self.log_vkeys).entry
            return (
                datetime.datetime.fromisoformat(entry.time) if signed_by(entry) == digest else None
            )

        return signers.keyring(self.verifier, signers.read(self.history, self.verifier), signed_at)


def trusted_keys(paths: Sequence[Path]) -> list[Trusted]:
    """Keys from files or folders named by the user, or those of the user's own projects when none
    are named.
    """
    if paths:
        return [given_keys(paths)]
    return [_from_folder(folder) for folder in sorted(CONFIG_HOME.expanduser().glob("*/public"))]


def given_keys(paths: Sequence[Path]) -> Trusted:
    """Keys from files or folders that were named; ConfigError: they contradict each other."""
    pems: list[bytes] = []
    logs: list[str] = []
    histories: list[bytes] = []
    withdrawn: list[bytes] = []
    for path in _files(paths):
        if path.name.endswith(".vkey"):
            logs.append(path.read_text(encoding="utf-8"))
        elif path.name == signers.FILE:
            histories.append(path.read_bytes())
        elif path.name == admission.WITHDRAWN:
            withdrawn.append(path.read_bytes())
        else:
            pems.append(path.read_bytes())
    if len(set(histories)) > 1:  # an older one would not know of the last compromise
        raise ConfigError(
            f"two different {signers.FILE} were given, and nobody says which is the newest",
            hint="give one folder with its owner's public keys",
        )
    verifier = Verifier.from_pem(*pems) if pems else None
    witnesses = [
        text for text in logs if any(key.algorithm == COSIGNATURE for key in parse_keys(text))
    ]
    own = [text for text in logs if text not in witnesses]
    witness = "".join(witnesses) or None
    history = histories[0] if histories else None
    return Trusted("--key", verifier, own[0] if own else None, witness, history, tuple(withdrawn))


def signed(
    found: carried.Carried, proof: bytes | None, trusted: Trusted
) -> tuple[bundle.VerifiedModel, Verifier]:
    """A model whose signatures and digests hold, withdrawn or not, and its signers.

    Args:
        found: as it was read.
        proof: the log's proof of when it was signed; None: the one that lies beside it.
        trusted: whose signature counts.

    Raises:
        VerificationError: it was changed, or nobody trusted signed it.
    """
    verifier = trusted.signers(proof or found.beside.get(bundle.PROOF))
    model = bundle.verify(found.files, found.bundle, verifier)
    admission.attested(found, verifier)
    return model, verifier


def judged(
    found: carried.Carried, proof: bytes | None, trusted: Trusted
) -> tuple[bundle.VerifiedModel, Verifier]:
    """A model as `signed` finds it, which its owner did not take back; RefusedError: they did."""
    model, verifier = signed(found, proof, trusted)
    admission.require_not_withdrawn(model, found, trusted.withdrawn, verifier)
    return model, verifier


def startable(
    found: carried.Carried,
    proof: bytes | None,
    trusted: Trusted,
    rules: admission.Rules,
    now: datetime.datetime,
) -> tuple[bundle.VerifiedModel, Verifier]:
    """A model as `judged` finds it, which may be started by the rules, and its signers.

    Args:
        found: as it was read.
        proof: see `signed`.
        trusted: whose signature counts, and what its owner took back.
        rules: what else it must be.
        now: with time zone.

    Raises:
        VerificationError, RefusedError: see `judged` and `admission.require`.
    """
    model, verifier = judged(found, proof, trusted)
    admission.require(rules, model, found, verifier, now, trusted.withdrawn)
    return model, verifier


def first_trusted(check: Callable[[Path, Trusted], T], path: Path, candidates: list[Trusted]) -> T:
    """What `check` says with the first keys by which something was signed.

    Args:
        check: verifies `path` with a set of keys.
        path: what is verified.
        candidates: sets of keys; what was given by name is the only one that counts.

    Raises:
        WrongSigner: none of them signed it. VerificationError: what `check` finds.
    """
    for trusted in candidates:
        try:
            return check(path, trusted)
        except WrongSigner:
            if trusted.origin == "--key":
                raise
    raise WrongSigner(
        f"none of the keys trusted here signed {path}",
        hint=(
            "get the owner's public keys over a channel you trust, then: casemate verify PATH --key"
            " FOLDER_WITH_KEYS"
        ),
    )


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (
                path / name
                for name in (*SIGNER_FILES, LOG_KEY, signers.FILE, admission.WITHDRAWN)
                if (path / name).is_file()
            )
        elif path.is_file():
            yield path
        else:
            raise ConfigError(
                f"no such public key: {path}",
                hint="pass signer.pub and signer-mldsa65.pub, or log.vkey",
            )


def _from_folder(folder: Path) -> Trusted:
    pems = [(folder / name).read_bytes() for name in SIGNER_FILES if (folder / name).is_file()]
    log = folder / LOG_KEY
    verifier = Verifier.from_pem(*pems) if len(pems) == len(SIGNER_FILES) else None
    history, withdrawn = folder / signers.FILE, folder / admission.WITHDRAWN
    return Trusted(
        folder.parent.name,
        verifier,
        log.read_text(encoding="utf-8") if log.is_file() else None,
        history=history.read_bytes() if verifier is not None and history.is_file() else None,
        withdrawn=(withdrawn.read_bytes(),) if withdrawn.is_file() else (),
    )
