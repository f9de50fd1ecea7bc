"""A small signed model, as a folder and as image layouts, and what a manipulator does with one."""

import hashlib
import json
import os
import shutil
from pathlib import Path

from casemate.core.oci.layout import Writer
from casemate.core.signatures import Signer
from casemate.core.types import Lineage, Release, Schema, Verdict
from casemate.stages.release import bundle, image
from casemate.stages.release.admission import APPROVAL
from casemate.stages.release.carried import APPROVALS

SIGNER, OTHER = Signer.generate(), Signer.generate()
BLOBS = Path("blobs", "sha256")


def published(folder: Path, signer: Signer = SIGNER) -> Path:
    """A folder of public keys, as a project publishes them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pem in zip(bundle.PUBLIC_KEYS, signer.verifier.pems, strict=True):
        (folder / name).write_bytes(pem)
    return folder


def card(name="wdbc", **said):
    return bundle.Card(
        **{
            "name": name,
            "model_version": 3,
            "inputs": Schema(target="y", classes=["0", "1"], columns=[]),
            "serve_format": "onnx",
            "purpose": "care",
            "lineage": {},
            "metrics": {},
            **said,
        }
    )


class Signed:
    """A model, its bundle and what is given away with them."""

    def __init__(self, signer=SIGNER, approvers=(), files=(), **said):
        self.signer = signer
        self.files = {
            bundle.CARD: card(**said).to_json(),
            "model.onnx": bytes(range(256)) * 8,
            "model-card.md": b"# wdbc\n",
            "mlbom.cdx.json": b"{}\n",
            **dict(files),
        }
        self.bundle = bundle.sign(self.files, signer)
        self.model = bundle.verify(self.files, self.bundle, signer.verifier)
        self.beside = {
            bundle.BUNDLE: self.bundle,
            **dict(zip(bundle.PUBLIC_KEYS, signer.verifier.pems, strict=True)),
        }
        if approvers:
            self.beside[APPROVALS] = b"".join(map(self.approval, approvers))

    def approval(self, who, stage="production", about=None):
        said = {"stage": stage, "approver": who}
        about = about or hashlib.sha256(self.bundle).hexdigest()
        return self.signer.sign_statement({"bundle": about}, APPROVAL, said) + b"\n"

    def folder(self, path: Path) -> Path:
        for name, content in self.files.items():
            (path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
            (path / "model" / name).write_bytes(content)
        for name, content in self.beside.items():
            (path / name).write_bytes(content)
        return path

    def layout(self, path: Path, form="model", moment=0) -> image.Written:
        lineage = Lineage(
            **dict.fromkeys(Lineage.__struct_fields__, "0" * 64)
            | {"run": "r1", "dataset": "wdbc", "dataset_version": "7"}
        )
        release = Release(
            model=self.model.card.name,
            model_version=3,
            verdict=Verdict(outcome="passed", gates=[]),
            lineage=lineage,
            files={},
            bundle=hashlib.sha256(self.bundle).hexdigest(),
        )
        path.mkdir(parents=True)
        writer = Writer(path)
        return image.write(
            writer, form, release, self.model, self.beside, self.signer, "p-1", "0.1.0", moment
        )


def index(layout: Path):
    return json.loads((layout / "index.json").read_bytes())


def manifest(layout: Path, entry=0):
    return json.loads(blob(layout, index(layout)["manifests"][entry]).read_bytes())


def blob(layout: Path, descriptor) -> Path:
    return layout / BLOBS / descriptor["digest"].partition(":")[2]


def flip(path: Path, place: int = -1) -> None:
    """One bit of one byte."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def replaced(layout: Path, descriptor, content: bytes):
    """Another blob in the place of one; digests are honest again, as far as this descriptor goes."""
    digest = hashlib.sha256(content).hexdigest()
    (layout / BLOBS / digest).write_bytes(content)
    return {**descriptor, "digest": f"sha256:{digest}", "size": len(content)}


def rewritten(layout: Path, change, entry=0) -> None:
    """Another manifest, and an index that names it: all digests hold again."""
    listed = index(layout)
    said = manifest(layout, entry)
    change(said)
    content = json.dumps(said).encode()
    listed["manifests"][entry] = replaced(layout, listed["manifests"][entry], content)
    (layout / "index.json").write_text(json.dumps(listed))


def unpacked(layout: Path, to: Path) -> Path:
    """What a runtime mounts."""
    import tarfile

    for layer in manifest(layout)["layers"]:
        with tarfile.open(blob(layout, layer)) as archive:
            archive.extractall(to, filter="data")
    return to


def lighter(path: Path) -> None:
    """Folders that were placed read-only may be removed by tests of a user who is not root."""
    for place, _, _ in os.walk(path):
        os.chmod(place, 0o755)
    shutil.rmtree(path)
