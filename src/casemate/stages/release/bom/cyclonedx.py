"""A bill as CycloneDX JSON, and back.

Spec: https://cyclonedx.org/docs/1.7/json/ (1.6 differs in its number only, for what is written
here). The library writes components, licences and dependencies; what it would drop (model card,
data) is put into the document afterwards, and nothing is ever read through it.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from casemate.stages.release.bom import forms
from casemate.stages.release.bom.clusters import clusters
from casemate.stages.release.bom.materials import Bill, Data, Figure, Model, Part

if TYPE_CHECKING:
    from cyclonedx.model import HashType, Property
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License

OURS = "casemate:"
PARAMETER, FAIRNESS = "casemate:hyperparameter:", "casemate:fairness"
G7 = "casemate:g7:"
MODEL, DATA, CONTENT = "machine-learning-model", "data", "content"
VERSIONS = ("1.2", "1.3", "1.4", "1.5", "1.6", "1.7")
"""That are read: what is read of them is the same in each."""
MOST_DEPTH = 16
"""Of components within components."""
MOST_PARTS = 100_000


def written(bill: Bill, form: Literal["cyclonedx-1.7", "cyclonedx-1.6"] = "cyclonedx-1.6") -> bytes:
    """The document: the same bytes of the same bill.

    Args:
        bill: of one model.
        form: which version.
    """
    from cyclonedx.model import Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.contact import OrganizationalEntity
    from cyclonedx.model.lifecycle import LifecyclePhase, PredefinedLifecycle
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    model = bill.models[0]
    producer = OrganizationalEntity(name=bill.producer) if bill.producer else None
    tool, _, tool_version = bill.tool.partition(" ")
    told = bill.facts | {"made": model.time, "training": model.training}
    subject = Component(
        name=bill.name,
        version=bill.version or None,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref="model",
        description=model.description or None,
        licenses=_licences(model.licence),
        manufacturer=OrganizationalEntity(name=model.producer) if model.producer else None,
        properties=_properties({OURS + name: said for name, said in told.items() if said}),
        components=[
            Component(
                name=file, type=ComponentType.FILE, bom_ref=f"model/{file}", hashes=_hashes(digest)
            )
            for file, digest in model.files.items()
        ],
    )
    components = [_component(part) for part in bill.parts]
    parts = {one.name: one for one in components if one.type != ComponentType.FILE}
    data = [_data_component(one) for one in bill.data]
    bom = Bom(components=[*components, *data], serial_number=forms.serial(bill, form))
    bom.metadata.component, bom.metadata.manufacturer = subject, producer
    if bill.tool:
        bom.metadata.tools.components.add(
            Component(
                name=tool,
                version=tool_version or None,
                type=ComponentType.APPLICATION,
                bom_ref="tool",
            )
        )
    if bill.phase:
        bom.metadata.lifecycles.add(PredefinedLifecycle(LifecyclePhase(bill.phase)))
    for cluster in clusters(bill, forms.TITLES[form]):
        for one in cluster.elements:
            bom.metadata.properties.add(
                Property(name=f"{G7}{cluster.name}:{one.name}", value=one.said)
            )
    for part, component in zip(bill.parts, components, strict=True):
        bom.register_dependency(component, [parts[name] for name in part.needs if name in parts])
    needed = {name for part in bill.parts for name in part.needs}
    direct = [one for one in components if one.name not in needed] or components
    bom.register_dependency(subject, [*data, *direct])
    version = SchemaVersion.from_version(forms.TITLES[form].partition(" ")[2])
    document = json.loads(make_outputter(bom, OutputFormat.JSON, version).output_as_string())
    _dated(document["metadata"], bill.time)
    document["metadata"]["component"]["modelCard"] = _card(model, bill.data)
    by_ref = {_ref(one): one for one in bill.data}
    for component in document.get("components", []):
        if component["bom-ref"] in by_ref:
            component["data"] = [_described(by_ref[component["bom-ref"]])]
    return json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"


def _dated(metadata: dict[str, Any], time: str) -> None:
    """The library dates what it writes by the clock."""
    metadata.pop("timestamp", None)
    if time:
        metadata["timestamp"] = time


def _properties(found: Mapping[str, str]) -> "list[Property]":
    from cyclonedx.model import Property

    return [Property(name=name, value=value) for name, value in found.items()]


def _hashes(digest: str) -> "list[HashType]":
    from cyclonedx.model import HashAlgorithm, HashType

    return [HashType(alg=HashAlgorithm.SHA_256, content=digest)] if digest else []


def _licences(text: str) -> "list[License]":
    """An id, an expression, or a name, as it is one."""
    from cyclonedx.contrib.license.factories import LicenseFactory

    return [LicenseFactory().make_from_string(text)] if text else []


def _component(part: Part) -> "Component":
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.contact import OrganizationalContact
    from packageurl import PackageURL

    file = part.kind == "file"
    return Component(
        name=part.name,
        version=part.version or None,
        type=ComponentType(part.kind),
        bom_ref=part.purl or f"{part.kind}:{part.name}",
        purl=PackageURL.from_string(part.purl) if part.purl else None,
        licenses=_licences(part.licence),
        authors=[OrganizationalContact(name=part.author)] if part.author else [],
        hashes=_hashes(part.digest) if file else [],
        properties=_properties({OURS + CONTENT: part.digest} if part.digest and not file else {}),
    )


def _ref(data: Data) -> str:
    return f"data:{data.name}@{data.version}"


def _data_component(data: Data) -> "Component":
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        name=data.name,
        version=data.version or None,
        type=ComponentType.DATA,
        bom_ref=_ref(data),
        description=data.description or None,
        licenses=_licences(data.licence),
        hashes=_hashes(data.digest),
    )


def _described(data: Data) -> dict[str, Any]:
    said = [("rows", [] if data.rows is None else [str(data.rows)]), ("type", data.types)]
    said += [("origin", [data.origin] if data.origin else []), ("statistic", data.statistics)]
    found: dict[str, Any] = {
        "type": "dataset",
        "name": data.name,
        "contents": {
            "properties": [
                {"name": OURS + name, "value": value} for name, values in said for value in values
            ]
        },
    }
    if data.sensitive:
        found["classification"] = SENSITIVE[data.sensitive]
    if data.columns:
        found["sensitiveData"] = data.columns
    return found


SENSITIVE: dict[str, str] = {"yes": "sensitive", "no": "not sensitive"}


def _card(model: Model, data: list[Data]) -> dict[str, Any]:
    said = [(PARAMETER + name, value) for name, value in model.parameters.items()]
    said += [(FAIRNESS, text) for text in model.fairness]
    parameters: dict[str, Any] = {
        "task": model.task,
        "architectureFamily": model.family,
        "modelArchitecture": model.architecture,
        "datasets": [{"ref": _ref(one)} for one in data],
        "inputs": [{"format": text} for text in model.inputs],
        "outputs": [{"format": text} for text in model.outputs],
    }
    considerations = {
        "useCases": model.uses,
        "technicalLimitations": model.limits,
        "performanceTradeoffs": model.tradeoffs,
    }
    return {
        "modelParameters": {name: value for name, value in parameters.items() if value},
        "quantitativeAnalysis": {"performanceMetrics": [_metric(one) for one in model.figures]},
        "considerations": {name: value for name, value in considerations.items() if value},
        "properties": [{"name": name, "value": value} for name, value in said],
    }


def _metric(one: Figure) -> dict[str, Any]:
    found: dict[str, Any] = {"type": one.name, "value": one.value}
    if one.low or one.high:
        found["confidenceInterval"] = {"lowerBound": one.low, "upperBound": one.high}
    return found
