"""Inside the sandbox: scan, and if nothing is wrong load the pickle under the same list and write
it as skops.

This is the only place in casemate where a pickle is loaded; the process has no network, no files
but this one, and no keys.
"""

import gzip
import io
import pickle
import zlib
from pathlib import Path
from typing import Any

import msgspec
from joblib.numpy_pickle import NumpyUnpickler
from msgspec import structs
from sklearn.base import is_classifier, is_regressor

from casemate.core.errors import ConfigError
from casemate.core.sandbox.child import Channel, Watch
from casemate.ml.models import ONNX, SKOPS, dump_skops, load_skops, untrusted_types
from casemate.ml.own import code
from casemate.ml.skopsfile import canonical
from casemate.stages.assess.artifact.allowed import allowed_globals
from casemate.stages.assess.artifact.scan import Scan, scan

SOURCE = "source"


class NotAllowed(pickle.UnpicklingError):
    """The pickle names something that is not on the list."""

    kind = "NotAllowed"


class _Loader(NumpyUnpickler):  # type: ignore[misc]
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in allowed_globals():
            raise NotAllowed(f"{module}.{name} is not on the list")
        return super().find_class(module, name)


def main(job: dict[str, Any], channel: Channel, _watch: Watch) -> dict[str, Any]:
    """The scan's answer; the converted file lies among the outputs when there is nothing against
    it.
    """
    inputs = Path(job["inputs"])
    content = (inputs / SOURCE).read_bytes()
    paths = sorted((inputs / code.FOLDER).glob("*"))
    carried = {code.place_of(path.name): path.read_bytes() for path in paths}
    channel.progress("scanning", 0, 2)
    try:
        code.check(carried)
    except ConfigError as error:
        problem = error.message.partition("transformers: ")[2]
        refused = Scan(format="skops", names=[], problems=[problem], convertible=False)
        return dict(msgspec.to_builtins(refused))
    names = code.names_in(carried)
    found = scan(content, names)
    if not found.problems and job["convert"]:
        channel.progress("converting", 1, 2)
        found = _converted(content, found, Path(job["outputs"]), names)
    return dict(msgspec.to_builtins(found))


def _converted(content: bytes, found: Scan, outputs: Path, names: list[str]) -> Scan:
    """What there is to say after a sound file was written anew in a safe format."""
    if found.format == "onnx":
        (outputs / ONNX).write_bytes(content)
        return found
    if found.format == "skops" and set(untrusted_types(content)) & set(names):
        (outputs / SKOPS).write_bytes(canonical(content))  # its code is not run for that
        return found
    if found.format == "skops":
        model = load_skops(content).estimator
    else:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        elif content[:1] == b"\x78":
            content = zlib.decompress(content)
        model = _Loader("model", io.BytesIO(content), ensure_native_byte_order=False).load()
    if not is_regressor(model) and not (is_classifier(model) and hasattr(model, "predict_proba")):
        problem = (
            f"it is a {type(model).__name__}, no fitted scikit-learn regressor or classifier with"
            " predict_proba"
        )
        return structs.replace(found, problems=[problem], convertible=False)
    written = dump_skops(model)
    load_skops(written)
    (outputs / SKOPS).write_bytes(written)
    return structs.replace(found, estimator=" ".join(repr(model).split())[:500])
