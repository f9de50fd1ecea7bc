"""Model files: what each would execute, by lists of what is allowed per kind. Another process reads
them, confined, and says a line of each; a file of which it said nothing was not looked at.
"""

import sys
from pathlib import PurePosixPath

import msgspec

from casemate.core.types.scan import ScanKind
from casemate.supply.scanners import artifactfile
from casemate.supply.scanners.artifactfile import Said
from casemate.supply.scanners.interface import Hit, Looked, Place
from casemate.supply.scanners.process import run

MODELS = (
    *(".pkl", ".pickle", ".p", ".dill", ".cloudpickle", ".joblib", ".pt", ".pth", ".bin", ".ckpt"),
    *(".h5", ".hdf5", ".keras", ".onnx", ".safetensors", ".skops", ".npy", ".npz", ".model"),
    *(".pb", ".tflite", ".pmml", ".gguf", ".ggml", ".nemo", ".mar", ".msgpack", ".mlmodel"),
)
"""Endings of files that hold models; others are known by how they begin."""
PACKED = (".gz", ".bz2", ".xz", ".lzma", ".zst", ".z")
"""Endings after one of them, of what joblib and pandas unpack by themselves."""
BEGINNINGS = (
    *(b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
    *(b"\x89HDF\r\n\x1a\n", b"\x93NUMPY", b"GGUF", b"(lp", b"cos\n", b"cposix\n"),
)
CODE, UNSAFE = "artifact.code", "artifact.unsafe"


class Artifacts:
    """Looks at model files, by their content."""

    id = "casemate-artifacts"
    kind: ScanKind = "artifacts"

    def look(self, place: Place) -> Looked:
        """See `Scanner.look`."""
        unseen: dict[str, str] = {}
        files = []
        for path in place.files:
            try:
                if _is_model(place, path):
                    files.append(path)
            except OSError as error:
                unseen[path] = f"it cannot be read: {error.strerror}"
        hits: list[Hit] = []
        for path, said in self._said(place, files).items():
            if said is None:
                unseen[path] = "its reader ended before it said anything of it"
            elif not said.known:
                unseen[path] = "; ".join(said.problems) or "its format is not known here"
            else:
                hits += [_hit(path, problem, said) for problem in said.problems]
        return Looked(
            scanner=self.id,
            kind=self.kind,
            version="1",
            hits=hits,
            count=len(files),
            unseen=unseen,
        )

    @staticmethod
    def _said(place: Place, files: list[str]) -> dict[str, Said | None]:
        """What is said of each file; None: nothing."""
        if not files:
            return {}
        named = place.folder("artifacts") / "files.json"
        named.write_bytes(msgspec.json.encode(files))
        words = ["-P", "-m", artifactfile.__name__, str(named)]
        ran = run(place, "python", words, program=artifactfile.python(sys.executable))
        found: dict[str, Said | None] = dict.fromkeys(files)
        for line in ran.output.splitlines():
            try:
                said = msgspec.json.decode(line, type=Said)
            except (msgspec.MsgspecError, ValueError):
                continue  # a last line that was cut off
            if said.path in found:
                found[said.path] = said
        return found


def _is_model(place: Place, path: str) -> bool:
    name = PurePosixPath(path.lower())
    if name.suffix in PACKED:
        name = name.with_suffix("")
    if name.suffix in MODELS:
        return True
    with (place.root / path).open("rb") as file:
        return file.read(8).startswith(BEGINNINGS)


def _hit(path: str, problem: str, said: Said) -> Hit:
    rule = CODE if said.names else UNSAFE
    return Hit(
        rule=rule,
        severity="high",
        message=f"{said.format}: {problem}",
        path=path,
        material=problem,
        references=["CWE-502", "OWASP-ML06:2023", "AML.T0011.000", "AML.T0018"],
        mend="take the model as ONNX, safetensors or skops, or train it anew",
    )
