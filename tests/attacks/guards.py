"""What a drill's attacks are seen by, and how to switch each of it off: in the configuration where
that can be, else in the code of this process or of the program that a drill starts.

`python -m tests.attacks.guards FOLDER HOME [ATTACK ...]` plays every attack on the copy of a
project that a drill has left there, with its guard and without.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomlkit

SERVED = "import sys; from casemate.cli import main; {patch}; sys.exit(main(sys.argv[1:]))"
"""A gateway or a verifier that something is taken from."""
Off = Callable[[Any, Path], None]


def option(**options: Any) -> Off:
    """An option of casemate.toml, as `TABLE__KEY`; None takes it out."""

    def off(_: Any, root: Path) -> None:
        document = tomlkit.parse((root / "casemate.toml").read_text())
        for name, value in options.items():
            table, _, key = name.partition("__")
            place = document.setdefault(table, {})
            if value is None:
                place.pop(key, None)
            else:
                place[key] = value
        (root / "casemate.toml").write_text(tomlkit.dumps(document))

    return off


def code(*changes: tuple[str, Any]) -> Off:
    """Something of casemate in this process."""

    def off(patch: pytest.MonkeyPatch, _: Path) -> None:
        for name, value in changes:
            patch.setattr(name, value)

    return off


def program(text: str) -> Off:
    """Something of it in a program that is started."""

    def off(patch: pytest.MonkeyPatch, _: Path) -> None:
        words = ("-P", "-c", SERVED.format(patch=text))
        patch.setattr("casemate.operations.drills.scene.PROGRAM", words)

    return off


def nothing(*_: Any, **__: Any) -> None:
    """What a guard says that does not look."""


def said(_: Any, envelope: Any, *__: Any) -> Any:
    """A statement whose signature nobody checks."""
    import base64

    import msgspec

    return msgspec.json.decode(base64.b64decode(envelope["payload"]))


ROWS = [
    (f"casemate.core.store.rowdigests.RowDigests.{name}", nothing)
    for name in ("require", "require_row", "_require_plain")
]
UNSEEN = [("casemate.core.store.rowdigests.RowDigests.differences", lambda *_: [])]
WITHOUT: dict[str, tuple[str, Off]] = {
    "label-flips": ("[screen] label_noise = false", option(screen__label_noise=False)),
    "backdoor": (
        "[screen] triggers, spectral, label_noise = false",
        option(screen__triggers=False, screen__spectral=False, screen__label_noise=False),
    ),
    "memorising-model": ("[gates] without membership_auc", option(gates__membership_auc=None)),
    "hostile-training": (
        "nobody hears what the sandbox refused",
        code(("casemate.core.sandbox.conversation._take_down", nothing)),
    ),
    "hostile-artifact": (
        "the import looks at nothing",
        code(("casemate.operations.drills.attacks.hostile_artifact.import_model", nothing)),
    ),
    "planted-file": ('[scan] exclude = ["*.bin"]', option(scan__exclude=["*.bin"])),
    "weak-package": (
        '[scan] exclude = ["requirements.txt"]',
        option(scan__exclude=["requirements.txt"]),
    ),
    "tampered-rows": (
        "fsck looks at no table",
        code(("casemate.operations.examination.Examination._tables", lambda *_: 0)),
    ),
    "tampered-model": (
        "the registry verifies nothing",
        code(("casemate.stages.release.registry.Registry.verify", nothing)),
    ),
    "unsigned-model": (
        "the registry verifies nothing",
        code(("casemate.stages.release.registry.Registry.verify", nothing)),
    ),
    "tampered-export": (
        "verify says OK to every model",
        program("import casemate.verification as v; v._model = lambda *a: v.Verified('', '', '')"),
    ),
    "forged-waiver": (
        "neither rows nor signatures are looked at",
        code(*ROWS, ("casemate.core.signatures.Verifier.verify_statement", said)),
    ),
    "forged-approval": (
        "neither rows nor signatures are looked at",
        code(*ROWS, ("casemate.core.signatures.Verifier.verify_statement", said)),
    ),
    "replayed-approval": (
        "neither rows nor what an approval is about are looked at",
        code(
            *ROWS,
            (
                "casemate.stages.release.approval.Approvals._verified",
                lambda _, __, row: __import__(
                    "casemate.stages.release.approval", fromlist=["Approval"]
                ).Approval(row.principal, row.stage, row.time, "r"),
            ),
        ),
    ),
    "own-approval": ("[release] separate = []", option(release__separate=[])),
    "written-right": ("rows are not held against the log", code(*ROWS, *UNSEEN)),
    "replayed-code": (
        "a code counts however often",
        code(
            (
                "casemate.controls.access.identity.factors.Factors.verify",
                lambda *_: "totp",
            )
        ),
    ),
    "edited-log": (
        "bodies are not held against the log",
        code(("casemate.controls.audit.publication.Publication.check", nothing)),
    ),
    "cut-log": (
        "neither the log nor what it says of rows is looked at",
        code(("casemate.controls.audit.publication.Publication.check", nothing), *ROWS),
    ),
    "rolled-back-log": (
        "this machine remembers no head",
        code(
            (
                "casemate.controls.audit.heads.Heads.read",
                lambda _: __import__("casemate.controls.audit.heads", fromlist=["Memory"]).Memory(),
            )
        ),
    ),
    "revoked-token": (
        "the gateway never looks at a token again",
        program(
            "from casemate.serve.admission import Admission as A; seen, real = {}, A._verified;"
            " A._verified = lambda s, *k: seen[k] if k in seen else seen.setdefault(k, real(s, *k))"
        ),
    ),
    "token-elsewhere": (
        "networks are not noticed",
        program(
            "from casemate.controls.access.anomalies import Anomalies as A;"
            " A.seen = lambda *a: None"
        ),
    ),
    "overreach": (
        "denials are not counted",
        program(
            "from casemate.controls.access.anomalies import Anomalies as A;"
            " A.count = lambda *a: None"
        ),
    ),
    "extraction": ("[serve.limits] probing = 1.0", option(serve__limits={"probing": 1.0})),
    "probing": ("[serve.limits] probing = 1.0", option(serve__limits={"probing": 1.0})),
    "stolen-certificate": (
        "revocations are not looked at",
        program(
            "from casemate.serve.http import Revocations as R; R.refuses = R.revoked ="
            " lambda *a: False"
        ),
    ),
    "bound-token": (
        "tokens are bound to nothing",
        program(
            "from casemate.controls.access.identity.tokens import TokenLimits as L;"
            " L.admits = lambda *a: True"
        ),
    ),
    "bad-model": (
        "alerts are heard by nobody",
        code(("casemate.operations.incidents.handling.take", nothing)),
    ),
    "served-model": (
        "the gateway verifies once",
        program(
            "from casemate.stages.release.registry import Registry as R; seen, real = {}, R.verify;"
            " R.verify = lambda s, r: seen[r] if r in seen else seen.setdefault(r, real(s, r))"
        ),
    ),
}
"""Attack -> what is switched off, and how."""


def main(words: list[str]) -> None:
    """Play, with the guards and without.

    Args:
        words: folder of the copy, its home, names of attacks.
    """
    import shutil
    import tempfile

    from casemate.operations.drills import catalogue, player
    from casemate.operations.drills.scene import Scene

    root, home, *names = words
    os.environ["HOME"] = home
    for attack in catalogue.named(names):
        told = []
        for off in (None, WITHOUT[attack.id][1]):
            with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
                shutil.copytree(root, Path(folder) / "base")
                (Path(folder) / "tmp").mkdir()
                scene = Scene(Path(folder) / "base", Path(folder) / "tmp")
                if off is not None:
                    off(patch, scene.root)
                found = player.played(scene, attack)
                scene.close()
                told.append(f"{found.verdict} {found.took:.1f} s {found.said[:60]}")
        print(f"{attack.id} | {WITHOUT[attack.id][0]} | {told[0]} | {told[1]}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
