"""The bill of materials of a model: CycloneDX 1.6 with a model card, and the environment's digest.

Spec: https://cyclonedx.org/docs/1.6/json/. The library writes the document; the model card is added
to the JSON because a round trip through the library drops it.
"""

import json
from functools import cache
from importlib.metadata import distributions
from typing import Any

from casemate.core.digest import sha256_record
from casemate.core.types import Assessment, Lineage, SealedDataset, TrainedModel
from casemate.ml.own import code


@cache
def environment() -> dict[str, str]:
    """Version by name of every installed distribution."""
    told = [dist.metadata for dist in distributions()]  # each look at it reads the file again
    return {name: one["Version"] for one in told if (name := one["Name"])}


def environment_digest() -> str:
    """SHA-256 over the installed distributions."""
    return sha256_record(environment())


def build(
    name: str,
    version: int,
    lineage: Lineage,
    dataset: SealedDataset,
    model: TrainedModel,
    assessment: Assessment,
    digests: dict[str, str],
) -> bytes:
    """The ML-BOM as JSON.

    Args:
        name: model name.
        version: model version.
        lineage: where it came from.
        dataset: what it learnt from.
        model: how it was trained.
        assessment: what was measured.
        digests: SHA-256 by file name of the model files.
    """
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    properties = [
        Property(name=f"casemate:lineage:{key}", value=value)
        for key, value in _plain(lineage).items()
    ]
    properties += [
        Property(name="casemate:own-code", value=f"{name} SHA-256 {digest}")
        for name, digest in code.among(digests).items()
    ]
    subject = Component(
        name=name,
        version=str(version),
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref="model",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in digests.values()],
        properties=properties,
    )
    bom = Bom(
        components=[
            Component(name=n, version=v, type=ComponentType.LIBRARY)
            for n, v in sorted(environment().items())
        ]
    )
    for file, digest in code.among(digests).items():
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest)]
        bom.components.add(Component(name=file, type=ComponentType.FILE, hashes=hashes))
    bom.metadata.component = subject
    data = Component(
        name=dataset.name, version=dataset.version, type=ComponentType.DATA, bom_ref="dataset"
    )
    bom.components.add(data)
    bom.register_dependency(subject, [data])
    document = json.loads(
        make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string()
    )
    document["metadata"]["component"]["modelCard"] = _card(model, assessment)
    return json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"


def _plain(lineage: Lineage) -> dict[str, str]:
    return {name: getattr(lineage, name) for name in lineage.__struct_fields__}


def _card(model: TrainedModel, assessment: Assessment) -> dict[str, Any]:
    figures = [
        {
            "type": name,
            "value": f"{metric.value:.6f}",
            "confidenceInterval": {
                "lowerBound": f"{metric.low:.6f}",
                "upperBound": f"{metric.high:.6f}",
            },
        }
        for name, metric in sorted((assessment.of_quality | assessment.figures).items())
    ]
    return {
        "modelParameters": {
            "task": "classification",
            "architectureFamily": "torch" if "network.json" in model.files else "scikit-learn",
            "modelArchitecture": model.estimator[:300],
            "datasets": [{"ref": "dataset"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": figures},
        "considerations": {"technicalLimitations": assessment.inconclusive[:50]},
    }
