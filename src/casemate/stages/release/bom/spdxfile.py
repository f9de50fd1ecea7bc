"""SPDX 3.0 in JSON-LD read into a bill, whoever wrote it: elements as its own context names them,
only what a bill has, and bounded. Nothing that a file names is fetched.
"""

from collections import defaultdict
from typing import Any

import msgspec

from casemate.core.errors import ConfigError
from casemate.stages.release.bom.cyclonedx import FAIRNESS, G7, MOST_PARTS, OURS
from casemate.stages.release.bom.forms import converted
from casemate.stages.release.bom.materials import (
    Answer,
    Bill,
    Data,
    Figure,
    Model,
    Part,
    in_order,
)
from casemate.stages.release.bom.spdx import KINDS

CONTEXTS = tuple(
    f"https://spdx.org/rdf/{version}/spdx-context.jsonld" for version in ("3.0.0", "3.0.1")
)
_ANSWERS: dict[str, Answer] = {"yes": "yes", "no": "no"}


class _Entry(msgspec.Struct):
    key: str = ""
    value: str = ""


class _Hash(msgspec.Struct):
    algorithm: str = ""
    hashValue: str = ""  # noqa: N815 - the specification's names, here and below
    comment: str = ""


class _Property(msgspec.Struct):
    name: str = msgspec.field(default="", name="extension_cdxPropName")
    value: str = msgspec.field(default="", name="extension_cdxPropValue")


class _Extension(msgspec.Struct):
    properties: list[_Property] = msgspec.field(default_factory=list, name="extension_cdxProperty")


class _Element(msgspec.Struct):
    type: str
    spdxId: str = ""  # noqa: N815
    name: str = ""
    description: str = ""
    version: str = msgspec.field(default="", name="software_packageVersion")
    purl: str = msgspec.field(default="", name="software_packageUrl")
    purpose: str = msgspec.field(default="", name="software_primaryPurpose")
    builtTime: str = ""  # noqa: N815
    suppliedBy: str = ""  # noqa: N815
    verifiedUsing: list[_Hash] = []  # noqa: N815
    extension: list[_Extension] = []
    expression: str = msgspec.field(default="", name="simplelicensing_licenseExpression")
    text: str = msgspec.field(default="", name="simplelicensing_licenseText")
    from_: str = msgspec.field(default="", name="from")
    to: list[str] = []
    relationshipType: str = ""  # noqa: N815
    domain: list[str] = msgspec.field(default_factory=list, name="ai_domain")
    parameters: list[_Entry] = msgspec.field(default_factory=list, name="ai_hyperparameter")
    metrics: list[_Entry] = msgspec.field(default_factory=list, name="ai_metric")
    training: str = msgspec.field(default="", name="ai_informationAboutTraining")
    types: list[str] = msgspec.field(default_factory=list, name="ai_typeOfModel")
    limitation: str = msgspec.field(default="", name="ai_limitation")
    sensitive: str = msgspec.field(default="", name="dataset_hasSensitivePersonalInformation")
    size: int | None = msgspec.field(default=None, name="dataset_datasetSize")
    origin: str = msgspec.field(default="", name="dataset_dataCollectionProcess")
    created: str = ""
    createdBy: list[str] = []  # noqa: N815
    createdUsing: list[str] = []  # noqa: N815
    specVersion: str = ""  # noqa: N815
    sbomType: list[str] = msgspec.field(default_factory=list, name="software_sbomType")  # noqa: N815
    rootElement: list[str] = []  # noqa: N815

    def ours(self, name: str) -> list[str]:
        """Values of a property of casemate's."""
        return [one.value for one in self.said if one.name == OURS + name]

    @property
    def said(self) -> list[_Property]:
        """Every property."""
        return [one for each in self.extension for one in each.properties]

    @property
    def sha256(self) -> str:
        """The first SHA-256."""
        return next((one.hashValue for one in self.verifiedUsing if one.algorithm == "sha256"), "")


_GRAPH = list[_Element]


class _Document(msgspec.Struct):
    context: str | list[str] = msgspec.field(name="@context")
    graph: _GRAPH = msgspec.field(name="@graph")


MODEL, DATA, PACKAGE = "ai_AIPackage", "dataset_DatasetPackage", "software_Package"


def read(value: dict[str, Any]) -> Bill:
    """A bill of a parsed document.

    Args:
        value: what stands in the file.

    Raises:
        ConfigError: it is of a version that is not known here, or not what it says that it is.
    """
    graph = value.get("@graph")
    if not isinstance(graph, list) or len(graph) > MOST_PARTS:
        raise ConfigError(
            f"the document has no list of elements, or more than {MOST_PARTS}",
            hint="SPDX 3.0 JSON-LD",
        )
    document = converted(value, _Document, "SPDX 3.0")
    context = (
        document.context if isinstance(document.context, str) else next(iter(document.context), "")
    )
    if context not in CONTEXTS:
        raise ConfigError(
            f"the JSON-LD context {context[:80]!r} is not SPDX 3.0's", hint=" or ".join(CONTEXTS)
        )
    return _bill(document.graph)


def _bill(graph: _GRAPH) -> Bill:
    by_id = {one.spdxId: one for one in graph if one.spdxId}
    needs, licences = _related(graph, by_id)
    creation = next((one for one in graph if one.type == "CreationInfo"), _Element("CreationInfo"))
    models = [one for one in graph if one.type == MODEL]
    boms = [one for one in graph if one.type == "software_Sbom"]
    root = next(
        (by_id[name] for bom in boms for name in bom.rootElement if name in by_id),
        models[0] if models else _Element("none"),
    )
    producer = next(
        (
            by_id[name].name
            for name in creation.createdBy
            if name in by_id and by_id[name].type in {"Organization", "Person"}
        ),
        "",
    )
    tool = next((by_id[name] for name in creation.createdUsing if name in by_id), _Element("Tool"))
    return Bill(
        name=root.name,
        version=root.version,
        format=f"SPDX {creation.specVersion or '3.0'}",
        time=creation.created,
        revision="".join(root.ours("revision")),
        producer=producer,
        tool=f"{tool.name} {tool.description}".strip(),
        phase=boms[0].sbomType[0] if boms and boms[0].sbomType else "",
        models=[_model(one, by_id, licences) for one in models],
        data=sorted(
            (_data(one, licences) for one in graph if one.type == DATA), key=lambda one: one.name
        ),
        parts=sorted(
            (
                _part(one, by_id, needs[one.spdxId], licences)
                for one in graph
                if one.type in {PACKAGE, "software_File"}
            ),
            key=in_order,
        ),
        facts={
            one.name.removeprefix(OURS): one.value
            for one in root.said
            if one.name.startswith(OURS)
            and not one.name.startswith(G7)
            and one.name.removeprefix(OURS) not in _OF_MODELS
        },
    )


_OF_MODELS = {
    "revision", "task", "family", "architecture", "input", "output", "limit", "tradeoff",
    "fairness",
}  # fmt: skip


def _related(
    graph: _GRAPH, by_id: dict[str, _Element]
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """By id what an element depends on, by name, and its declared licence."""
    needs: dict[str, list[str]] = defaultdict(list)
    licences: dict[str, str] = {}
    for one in graph:
        found = [by_id[name] for name in one.to if name in by_id]
        if one.relationshipType == "dependsOn":
            needs[one.from_] += [each.name for each in found]
        elif one.relationshipType == "hasDeclaredLicense" and found:
            licences[one.from_] = found[0].expression or found[0].text or found[0].name
    return needs, licences


def _figure(entry: _Entry) -> Figure:
    value, _, rest = entry.value.partition(" [")
    low, _, high = rest.removesuffix("]").partition(", ")
    return Figure(name=entry.key, value=value, low=low, high=high)


def _model(one: _Element, by_id: dict[str, _Element], licences: dict[str, str]) -> Model:
    supplier = by_id.get(one.suppliedBy)
    return Model(
        name=one.name,
        version=one.version,
        description=one.description,
        licence=licences.get(one.spdxId, ""),
        producer="" if supplier is None else supplier.name,
        time=one.builtTime,
        task="".join(one.ours("task")),
        family="".join(one.ours("family")),
        architecture="".join(one.ours("architecture"))
        or ("" if one.ours("family") else ", ".join(one.types)),
        training=one.training,
        files={
            each.comment or f"file {number}": each.hashValue
            for number, each in enumerate(one.verifiedUsing, 1)
            if each.algorithm == "sha256"
        },
        parameters={each.key: each.value for each in one.parameters},
        figures=sorted((_figure(each) for each in one.metrics), key=lambda each: each.name),
        inputs=one.ours("input"),
        outputs=one.ours("output"),
        uses=one.domain,
        limits=one.ours("limit") or ([one.limitation] if one.limitation else []),
        tradeoffs=one.ours("tradeoff"),
        fairness=one.ours(FAIRNESS.removeprefix(OURS)),
    )


def _data(one: _Element, licences: dict[str, str]) -> Data:
    return Data(
        name=one.name,
        version=one.version,
        description=one.description,
        licence=licences.get(one.spdxId, ""),
        digest=one.sha256,
        rows=one.size,
        types=one.ours("type"),
        sensitive=_ANSWERS.get(one.sensitive, ""),
        columns=one.ours("sensitive"),
        origin=one.origin,
        statistics=one.ours("statistic"),
    )


def _part(
    one: _Element, by_id: dict[str, _Element], needs: list[str], licences: dict[str, str]
) -> Part:
    supplier = by_id.get(one.suppliedBy)
    kind = "file" if one.type == "software_File" else KINDS.get(one.purpose, "library")
    return Part(
        name=one.name,
        version=one.version,
        kind=kind,
        licence=licences.get(one.spdxId, ""),
        author="" if supplier is None else supplier.name,
        purl=one.purl,
        digest=one.sha256 or "".join(one.ours("content")),
        needs=sorted(needs),
    )
