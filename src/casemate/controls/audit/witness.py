"""A witness: it cosigns a log's checkpoint only when it extends the last one it cosigned
(https://c2sp.org/tlog-witness).

State is one file per log, replaced atomically and durable before the answer leaves, so that no
crash can make it cosign a rollback. Logs are known by the `*.vkey` files in `logs/`; a log's whole
key file must verify, both signatures of it.
"""

import binascii
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

from casemate.controls.audit.checkpoint import Cosigner, Head, log_keys, parse_head
from casemate.controls.audit.merkle import EMPTY_ROOT, HASH_SIZE, verify_consistency
from casemate.controls.audit.note import Note, decode_base64, parse_note, signed_by
from casemate.core.errors import BackendError, ConfigError, VerificationError
from casemate.core.files import exclusive_wait, make_folder, write_atomic

MAX_REQUEST = 96 * 1024
# C2SP tlog-witness: no more than 63 lines of proof
MAX_PROOF = 63
PUBLIC = "witness.vkey"


class _Keys(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    name: str
    ed25519: bytes
    mldsa44: bytes


class _State(msgspec.Struct, forbid_unknown_fields=True):
    origin: str
    size: int
    root: bytes


@dataclass(frozen=True)
class Answer:
    """What goes back to the log."""

    status: int
    body: str
    content_type: str = "text/plain; charset=utf-8"


class Witness:
    """The witness whose keys, logs and memory lie in `folder`."""

    def __init__(self, folder: Path, cosigner: Cosigner) -> None:
        self.folder = folder
        self.cosigner = cosigner

    @classmethod
    def create(cls, folder: Path, name: str) -> "Witness":
        """Make the keys of a new witness called `name` (a URL without scheme, such as
        `witness.example/w1`).

        Raises:
            ConfigError: the folder holds one already, or the name has white space or '+'.
        """
        if not name or any(c.isspace() or c == "+" for c in name) or len(name.encode()) > 255:
            raise ConfigError(
                f"{name!r} cannot be a witness's name", hint="such as witness.example.org/w1"
            )
        if (folder / "keys.json").exists():
            raise ConfigError(f"{folder} holds a witness already", hint="choose another folder")
        keys = _Keys(1, name, secrets.token_bytes(32), secrets.token_bytes(32))
        make_folder(folder / "logs")
        make_folder(folder / "state")
        write_atomic(folder / "keys.json", msgspec.json.encode(keys))
        witness = cls.open(folder)
        write_atomic(folder / PUBLIC, witness.vkeys.encode(), mode=0o644)
        return witness

    @classmethod
    def open(cls, folder: Path) -> "Witness":
        """The witness in `folder`; ConfigError when there is none."""
        try:
            keys = msgspec.json.decode((folder / "keys.json").read_bytes(), type=_Keys)
            classical = ed25519.Ed25519PrivateKey.from_private_bytes(keys.ed25519)
            quantum = mldsa.MLDSA44PrivateKey.from_seed_bytes(keys.mldsa44)
        except FileNotFoundError as error:
            raise ConfigError(
                f"{folder} holds no witness",
                hint=f"casemate audit witness init {folder} --name NAME",
            ) from error
        except (msgspec.MsgspecError, ValueError) as error:
            raise BackendError(
                f"the witness's keys in {folder} are damaged",
                hint="restore keys.json and state from one backup",
            ) from error
        return cls(folder, Cosigner(keys.name, classical, quantum))

    @property
    def vkeys(self) -> str:
        """Both verifier keys, one a line: what logs configure."""
        return self.cosigner.vkeys

    def trust(self, vkeys: str) -> str:
        """Cosign for the log with these keys from now on; returns its origin. Both keys of the file
        must be there.
        """
        classical, _ = log_keys(vkeys)
        path = self._file("logs", classical.name).with_suffix(".vkey")
        if path.exists() and path.read_text(encoding="utf-8") != vkeys:
            raise ConfigError(
                f"the witness knows other keys of {classical.name}",
                hint=f"remove {path} by hand if the log's owner changed them",
            )
        write_atomic(path, vkeys.encode(), mode=0o644)
        return classical.name

    def _file(self, kind: str, origin: str) -> Path:
        return self.folder / kind / sha256(origin.encode()).hexdigest()

    def latest(self, origin: str) -> Head:
        """The last head that this witness cosigned for a log.

        Raises:
            BackendError: the memory is damaged: without it nothing may be cosigned.
        """
        path = self._file("state", origin)
        try:
            state = msgspec.json.decode(path.read_bytes(), type=_State)
        except FileNotFoundError:
            return Head(origin, 0, EMPTY_ROOT)
        except (msgspec.MsgspecError, ValueError) as error:
            raise BackendError(
                f"the witness's memory of {origin} is damaged",
                hint="restore it from a backup that is not older",
            ) from error
        if state.origin != origin or len(state.root) != HASH_SIZE:
            raise BackendError(
                f"the witness's memory of {origin} is damaged",
                hint="restore it from a backup that is not older",
            )
        return Head(origin, state.size, state.root)

    def add_checkpoint(self, request: bytes) -> Answer:
        """Answer one `add-checkpoint` request. Every refusal is an answer; only faults of this
        machine are raised.
        """
        try:
            old, proof, note = _parse(request)
            head = parse_head(note)
        except VerificationError as error:
            return Answer(400, f"{error.message}\n")
        try:
            vkeys = self._file("logs", head.origin).with_suffix(".vkey").read_text(encoding="utf-8")
        except FileNotFoundError:
            return Answer(404, "this witness does not know the log\n")
        if any(
            signed_by(key, note, head.origin, head.size, head.root) is None
            for key in log_keys(vkeys)
        ):
            return Answer(403, "the checkpoint is not signed by the log's keys\n")
        if old > head.size:
            return Answer(400, "the old size is larger than the checkpoint\n")
        make_folder(self.folder / "state")
        with exclusive_wait(self.folder / "lock"):
            return self._compare_and_set(old, proof, head, note)

    def _compare_and_set(self, old: int, proof: list[bytes], head: Head, note: Note) -> Answer:
        latest = self.latest(head.origin)
        if latest.size != old or (latest.size == head.size and latest.root != head.root):
            return Answer(409, f"{latest.size}\n", "text/x.tlog.size")
        try:
            verify_consistency(old, head.size, proof, latest.root, head.root)
        except VerificationError as error:
            return Answer(422, f"{error.message}\n")
        if head != latest:
            state = _State(head.origin, head.size, head.root)
            write_atomic(self._file("state", head.origin), msgspec.json.encode(state))
        return Answer(200, self.cosigner.cosign(head, note.text))


def _parse(request: bytes) -> tuple[int, list[bytes], Note]:
    try:
        if len(request) > MAX_REQUEST:
            raise ValueError("the request is too large")
        head, _, checkpoint = request.partition(b"\n\n")
        first, *lines = head.decode("ascii").split("\n")
        word, number = first.split(" ")
        if (
            word != "old"
            or not number.isascii()
            or not number.isdigit()
            or str(int(number)) != number
            or len(lines) > MAX_PROOF
        ):
            raise ValueError("the request is malformed")
        proof = [decode_base64(line) for line in lines]
    except (ValueError, binascii.Error) as error:
        raise VerificationError("the request is malformed") from error
    return int(number), proof, parse_note(checkpoint)
