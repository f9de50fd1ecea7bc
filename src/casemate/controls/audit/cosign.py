"""Collecting cosignatures: the log's side of C2SP tlog-witness (https://c2sp.org/tlog-witness)."""

import base64
from dataclasses import dataclass, replace
from pathlib import Path

from casemate.controls.audit import tiles
from casemate.controls.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from casemate.controls.audit.merkle import consistency_proof
from casemate.controls.audit.note import Key, Note, parse_lines
from casemate.controls.audit.verify import WITNESSED
from casemate.core.errors import Error, HistoryError, TransientError, VerificationError
from casemate.core.files import exclusive_wait, write_atomic
from casemate.core.http import post

# C2SP tlog-witness: the witness has seen another size, and says which in the body
CONFLICT = 409


@dataclass(frozen=True)
class WitnessPeer:
    """A witness that the project's owner trusts."""

    name: str
    url: str
    keys: list[Key]


def collect(
    folder: Path, vkeys: str, peers: list[WitnessPeer], timeout: float
) -> dict[str, Error | None]:
    """Ask every witness to cosign the published checkpoint, and keep it with the lines that verify
    in `witnessed`.

    Args:
        folder: the log's folder.
        vkeys: the log's own keys.
        peers: whom to ask.
        timeout: seconds for one request.

    Returns:
        Per witness None, or why it did not cosign; a VerificationError means that it knows another
        history.
    """
    content = (folder / "checkpoint").read_bytes()
    checkpoint = verify_checkpoint(content, vkeys)
    kept = _kept(folder, vkeys)
    done: dict[str, Error | None] = {}
    lines = ""
    for peer in peers:
        guess = kept.size if kept is not None and kept.cosigned_by(peer.keys) else 0
        try:
            lines += _ask(folder, peer, checkpoint, content, guess, timeout)
            done[peer.name] = None
        except Error as error:
            done[peer.name] = error
    if lines:
        with exclusive_wait(folder / ".lock"):
            newest = _kept(folder, vkeys)
            if newest is None or newest.size <= checkpoint.size:
                write_atomic(folder / WITNESSED, content + lines.encode(), mode=0o644)
    return done


def _kept(folder: Path, vkeys: str) -> VerifiedCheckpoint | None:
    try:
        return verify_checkpoint((folder / WITNESSED).read_bytes(), vkeys)
    except (FileNotFoundError, VerificationError):
        return None


def _ask(
    folder: Path,
    peer: WitnessPeer,
    checkpoint: VerifiedCheckpoint,
    content: bytes,
    old: int,
    timeout: float,
) -> str:
    status, body = _post(peer, folder, checkpoint, content, old, timeout)
    if status == CONFLICT and body.strip().isdigit():
        known = int(body)
        # It knows more than there is, or refuses the size that it named before: no proof of
        # consistency can join these.
        if known > checkpoint.size or known == old:
            raise HistoryError(
                f"the witness {peer.name} knows {known} entries of this log and another history"
                f" than the {checkpoint.size} published here",
                hint="the log was rolled back or forked: treat it as tampering until explained",
            )
        status, body = _post(peer, folder, checkpoint, content, known, timeout)
    # C2SP tlog-witness: the proof does not fit to the checkpoint that the witness holds.
    if status == 422:
        raise HistoryError(
            f"the witness {peer.name} knows another history of this log",
            hint="treat it as tampering until explained",
        )
    if status != 200:
        raise TransientError(
            f"the witness {peer.name} answered {status}: {body.strip()[:200]}",
            hint="give its operator your log.vkey",
        )
    try:
        note = Note(checkpoint.note.text, (*checkpoint.note.lines, *parse_lines(body)))
    except ValueError as error:
        raise TransientError(
            f"the witness {peer.name} answered something malformed", hint="ask its operator"
        ) from error
    if not replace(checkpoint, note=note).cosigned_by(peer.keys):
        raise TransientError(
            f"the witness {peer.name} signed with other keys than the configured ones",
            hint="compare [audit.witnesses] keys",
        )
    # Only the lines that were verified are kept: an answer may carry any number of others.
    wanted = {(key.name, key.id) for key in peer.keys}
    return "".join(
        f"{line}\n"
        for line, parsed in zip(body.splitlines(), parse_lines(body), strict=True)
        if parsed[:2] in wanted
    )


def _post(
    peer: WitnessPeer,
    folder: Path,
    checkpoint: VerifiedCheckpoint,
    content: bytes,
    old: int,
    timeout: float,
) -> tuple[int, str]:
    proof = (
        consistency_proof(old, checkpoint.size, tiles.nodes_of(folder, checkpoint.size))
        if old <= checkpoint.size
        else []
    )
    lines = "".join(base64.b64encode(item).decode() + "\n" for item in proof)
    status, body = post(
        f"{peer.url.rstrip('/')}/add-checkpoint",
        f"old {old}\n{lines}\n".encode() + content,
        {},
        timeout,
    )
    return status, body.decode(errors="replace")
