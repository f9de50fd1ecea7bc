"""Inside the sandbox: load the model file under the allow-list and measure it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import onnxruntime  # noqa: F401 - loaded while the parent works
import skops.io  # noqa: F401 - same
from sklearn import config_context

from casemate.config import AssessTable
from casemate.core.frame import codes_of, features_of, open_table
from casemate.core.models import ONNX, SKOPS, load_skops
from casemate.core.sandbox.child import Channel, Watch
from casemate.core.types import Assessment, Finding, Schema
from casemate.stages.assess import membership, parity, quality, robustness
from casemate.stages.assess.sample import Sample


def main(job: dict[str, Any], channel: Channel, _watch: Watch) -> dict[str, Any]:
    """Run every measurement; one that raises is inconclusive and does not stop the others."""
    schema = msgspec.convert(job["schema"], Schema)
    options = msgspec.convert(job["assess"], AssessTable)
    inputs = Path(job["inputs"])
    model = load_skops((inputs / SKOPS).read_bytes())
    holdout, members = (Sample(features_of(table, schema), codes_of(table, schema)) for table in map(open_table, job["tables"]))
    onnx = (inputs / ONNX).read_bytes() if (inputs / ONNX).exists() else b""
    inconclusive: list[str] = []
    findings: list[Finding] = []

    def attempt(name: str, step: int, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        channel.progress(name, step, 4)
        try:
            with config_context(assume_finite=True, skip_parameter_validation=True):
                return work()
        except Exception as error:  # noqa: BLE001 - a measurement that crashed is inconclusive and blocks its gate
            inconclusive.append(f"{name}: {type(error).__name__}: {error}"[:500])
            return {}

    measured = attempt("quality", 0, lambda: quality.measure(model, schema, holdout, options, job["seed"]))
    for name, figure in list(measured.get("metrics", {}).items()):
        if not all(map(math.isfinite, figure.values())):
            del measured["metrics"][name]
            inconclusive.append(f"quality: {name} is not defined on this hold-out")
    attacked = attempt(
        "robustness",
        1,
        lambda: robustness.measure(model, schema, holdout, members, options, job["gate_eps"], job["seed"], channel.progress),
    )
    leaked = attempt("membership", 2, lambda: membership.measure(model, members, holdout, options, job["seed"]))
    compared = attempt("parity", 3, lambda: parity.measure(model, onnx, schema, holdout))
    if attacked.get("inconclusive"):
        inconclusive.append(f"robustness: {attacked['inconclusive']}")
    if onnx and not compared.get("equal"):
        findings.append(
            Finding(
                id="model.parity",
                severity="low",
                confidence="high",
                message=f"the ONNX export is not used, scikit-learn will serve: {_parity_text(compared, inconclusive)}",
            )
        )
    return dict(
        msgspec.to_builtins(
            Assessment(
                rows=len(holdout.codes),
                metrics=measured.get("metrics", {}),
                calibration=measured.get("calibration", {}),
                roc=measured.get("roc", {}),
                slices=measured.get("slices", []),
                robustness=attacked,
                membership=leaked,
                parity=compared,
                serve_format="onnx" if compared.get("equal") else "skops",
                findings=findings,
                inconclusive=inconclusive,
            )
        )
    )


def _parity_text(compared: dict[str, Any], inconclusive: list[str]) -> str:
    if not compared:
        return next(text for text in inconclusive if text.startswith("parity"))
    return f"labels agree on {compared['label_agreement']:.4%}, probabilities differ by up to {compared['max_difference']:.2g}"
