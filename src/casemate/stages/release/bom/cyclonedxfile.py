"""CycloneDX JSON read into a bill, whoever wrote it: only what a bill has, and bounded."""

from collections.abc import Iterator
from typing import Any

import msgspec

from casemate.core.errors import ConfigError
from casemate.stages.release.bom.cyclonedx import (
    CONTENT,
    DATA,
    FAIRNESS,
    G7,
    MODEL,
    MOST_DEPTH,
    MOST_PARTS,
    OURS,
    PARAMETER,
    VERSIONS,
)
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


class _Named(msgspec.Struct):
    name: str = ""
    value: str = ""


class _Licence(msgspec.Struct):
    id: str = ""
    name: str = ""


class _Choice(msgspec.Struct):
    license: _Licence | None = None
    expression: str = ""


class _Hash(msgspec.Struct):
    alg: str = ""
    content: str = ""


class _Interval(msgspec.Struct):
    lowerBound: str = ""  # noqa: N815 - the specification's names, here and below
    upperBound: str = ""  # noqa: N815


class _Metric(msgspec.Struct):
    type: str = ""
    value: str = ""
    slice: str = ""
    confidenceInterval: _Interval = msgspec.field(default_factory=_Interval)  # noqa: N815


class _Analysis(msgspec.Struct):
    performanceMetrics: list[_Metric] = []  # noqa: N815


class _Format(msgspec.Struct):
    format: str = ""


class _Parameters(msgspec.Struct):
    task: str = ""
    architectureFamily: str = ""  # noqa: N815
    modelArchitecture: str = ""  # noqa: N815
    inputs: list[_Format] = []
    outputs: list[_Format] = []


class _Considerations(msgspec.Struct):
    useCases: list[str] = []  # noqa: N815
    technicalLimitations: list[str] = []  # noqa: N815
    performanceTradeoffs: list[str] = []  # noqa: N815


class _Card(msgspec.Struct):
    modelParameters: _Parameters = msgspec.field(default_factory=_Parameters)  # noqa: N815
    quantitativeAnalysis: _Analysis = msgspec.field(default_factory=_Analysis)  # noqa: N815
    considerations: _Considerations = msgspec.field(default_factory=_Considerations)
    properties: list[_Named] = []


class _Contents(msgspec.Struct):
    properties: list[_Named] = []


class _Described(msgspec.Struct):
    contents: _Contents = msgspec.field(default_factory=_Contents)
    classification: str = ""
    sensitiveData: list[str] = []  # noqa: N815


class _Entity(msgspec.Struct):
    name: str = ""


class _Component(msgspec.Struct):
    name: str
    type: str
    version: str = ""
    description: str = ""
    purl: str = ""
    ref: str = msgspec.field(default="", name="bom-ref")
    licenses: list[_Choice] = []
    hashes: list[_Hash] = []
    properties: list[_Named] = []
    components: list["_Component"] = []
    manufacturer: _Entity = msgspec.field(default_factory=_Entity)
    supplier: _Entity = msgspec.field(default_factory=_Entity)
    authors: list[_Entity] = []
    modelCard: _Card = msgspec.field(default_factory=_Card)  # noqa: N815
    data: list[_Described] = []


class _Tools(msgspec.Struct):
    components: list[_Component] = []


class _Tool(msgspec.Struct):
    name: str = ""
    version: str = ""


class _Phase(msgspec.Struct):
    phase: str = ""


class _Metadata(msgspec.Struct):
    timestamp: str = ""
    component: _Component | None = None
    manufacturer: _Entity = msgspec.field(default_factory=_Entity)
    supplier: _Entity = msgspec.field(default_factory=_Entity)
    tools: _Tools | list[_Tool] = msgspec.field(default_factory=_Tools)
    lifecycles: list[_Phase] = []


class _Needs(msgspec.Struct):
    ref: str = ""
    dependsOn: list[str] = []  # noqa: N815


class _Document(msgspec.Struct):
    bomFormat: str  # noqa: N815
    specVersion: str  # noqa: N815
    version: int = 1
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    components: list[_Component] = []
    dependencies: list[_Needs] = []


def read(value: dict[str, Any]) -> Bill:
    """A bill of a parsed document.

    Args:
        value: what stands in the file.

    Raises:
        ConfigError: it is of a version that is not known here, or not what it says that it is.
    """
    version = value.get("specVersion")
    if version not in VERSIONS:
        said = "without specVersion" if version is None else repr(str(version)[:20])
        raise ConfigError(
            f"CycloneDX {said} is not known here", hint=f"versions {', '.join(VERSIONS)}"
        )
    document = converted(value, _Document, "CycloneDX")
    metadata, subject = document.metadata, document.metadata.component
    every = list(_flat(document.components))
    inner = [] if subject is None else [subject, *_flat(subject.components)]
    models = [one for one in [*inner, *every] if one.type == MODEL]
    files = {id(file) for model in models for file in model.components if file.type == "file"}
    rest = [
        one
        for one in [*inner[1:], *every]
        if one.type not in {MODEL, DATA} and id(one) not in files
    ]
    names = {one.ref: one.name for one in rest if one.ref}
    needs = {
        one.ref: sorted({names[ref] for ref in one.dependsOn if ref in names})
        for one in document.dependencies
    }
    return Bill(
        name="" if subject is None else subject.name,
        version="" if subject is None else subject.version,
        format=f"CycloneDX {version}",
        time=metadata.timestamp,
        revision=str(document.version),
        producer=metadata.manufacturer.name or metadata.supplier.name,
        tool=_tool(metadata.tools),
        phase=metadata.lifecycles[0].phase if metadata.lifecycles else "",
        models=[_model(one) for one in models],
        data=sorted(
            (_data(one) for one in [*inner, *every] if one.type == DATA), key=lambda one: one.name
        ),
        parts=sorted(
            (_part(one, needs.get(one.ref, [])) for one in rest),
            key=in_order,
        ),
        facts={
            name: said
            for name, said in ({} if subject is None else _ours(subject.properties)).items()
            if name not in {"made", "training"}
        },
    )


def _flat(components: list[_Component]) -> Iterator[_Component]:
    waiting = [(one, 1) for one in reversed(components)]
    count = 0
    while waiting:
        one, depth = waiting.pop()
        count += 1
        if count > MOST_PARTS or depth > MOST_DEPTH:
            raise ConfigError(
                f"the bill has more than {MOST_PARTS} components, or {MOST_DEPTH} levels of them",
                hint="no bill of one model has",
            )
        yield one
        waiting += [(inner, depth + 1) for inner in reversed(one.components)]


def _tool(tools: _Tools | list[_Tool]) -> str:
    found: list[Any] = list(tools.components if isinstance(tools, _Tools) else tools)
    return f"{found[0].name} {found[0].version}".strip() if found else ""


def _ours(properties: list[_Named]) -> dict[str, str]:
    return {
        one.name.removeprefix(OURS): one.value
        for one in properties
        if one.name.startswith(OURS) and not one.name.startswith(G7)
    }


def _all_of(properties: list[_Named], name: str) -> list[str]:
    return [one.value for one in properties if one.name == OURS + name]


def _licence(choices: list[_Choice]) -> str:
    found = []
    for one in choices:
        named = one.license or _Licence()
        found.append(one.expression or named.id or named.name)
    return " AND ".join(text for text in found if text)


def _sha256(hashes: list[_Hash]) -> str:
    return next((one.content for one in hashes if one.alg == "SHA-256"), "")


def _model(one: _Component) -> Model:
    card, ours = one.modelCard, _ours(one.properties)
    parameters, considerations = card.modelParameters, card.considerations
    files = {file.name: _sha256(file.hashes) for file in one.components if file.type == "file"} or {
        f"file {number}": each.content for number, each in enumerate(one.hashes, 1)
    }
    return Model(
        name=one.name,
        version=one.version,
        description=one.description,
        licence=_licence(one.licenses),
        producer=one.manufacturer.name or one.supplier.name,
        time=ours.get("made", ""),
        task=parameters.task,
        family=parameters.architectureFamily,
        architecture=parameters.modelArchitecture,
        training=ours.get("training", ""),
        files=files,
        parameters={
            each.name.removeprefix(PARAMETER): each.value
            for each in card.properties
            if each.name.startswith(PARAMETER)
        },
        figures=[
            Figure(
                name=f"{each.type} of {each.slice}" if each.slice else each.type,
                value=each.value,
                low=each.confidenceInterval.lowerBound,
                high=each.confidenceInterval.upperBound,
            )
            for each in card.quantitativeAnalysis.performanceMetrics
        ],
        inputs=[each.format for each in parameters.inputs],
        outputs=[each.format for each in parameters.outputs],
        uses=considerations.useCases,
        limits=considerations.technicalLimitations,
        tradeoffs=considerations.performanceTradeoffs,
        fairness=[each.value for each in card.properties if each.name == FAIRNESS],
    )


_ANSWERS: dict[str, Answer] = {"sensitive": "yes", "not sensitive": "no"}


def _data(one: _Component) -> Data:
    described = one.data[0] if one.data else _Described()
    properties = described.contents.properties
    rows = next(iter(_all_of(properties, "rows")), "")
    origin = next(iter(_all_of(properties, "origin")), "")
    return Data(
        name=one.name,
        version=one.version,
        description=one.description,
        licence=_licence(one.licenses),
        digest=_sha256(one.hashes),
        rows=int(rows) if rows.isascii() and rows.isdigit() and len(rows) < 20 else None,
        types=_all_of(properties, "type"),
        sensitive=_ANSWERS.get(described.classification, ""),
        columns=described.sensitiveData,
        origin=origin,
        statistics=_all_of(properties, "statistic"),
    )


def _part(one: _Component, needs: list[str]) -> Part:
    digest = _sha256(one.hashes) or next(iter(_all_of(one.properties, CONTENT)), "")
    return Part(
        name=one.name,
        version=one.version,
        kind=one.type,
        licence=_licence(one.licenses),
        author=one.supplier.name or ", ".join(each.name for each in one.authors if each.name),
        purl=one.purl,
        digest=digest,
        needs=needs,
    )
