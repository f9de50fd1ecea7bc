"""The minimum elements of an SBOM for AI, in their seven clusters, each filled or "not known".

Source: G7 Cybersecurity Working Group, Software Bill of Materials (SBOM) for Artificial
Intelligence - Minimum Elements, 12 May 2026. Names of clusters and elements are the paper's.
"""

from collections.abc import Callable

import msgspec

from casemate.core import figures
from casemate.core.types import Record
from casemate.stages.release.bom.materials import NOT_KNOWN, Bill, Data, Model


class Element(Record, frozen=True, kw_only=True):
    """One element, and what is known of it."""

    name: str
    said: str
    """`not known` where nothing is."""

    @property
    def known(self) -> bool:
        """Whether anything is."""
        return self.said != NOT_KNOWN


class Cluster(Record, frozen=True, kw_only=True):
    """One of the seven."""

    name: str
    elements: list[Element]

    @property
    def filled(self) -> int:
        """Elements of which something is known."""
        return sum(element.known for element in self.elements)


Said = Callable[[Bill], str]


def clusters(bill: Bill, form: str = "") -> list[Cluster]:
    """All seven, in the paper's order.

    Args:
        bill: what is known.
        form: name and version of the format that it is written in; default: what it was read from.
    """
    told = msgspec.structs.replace(bill, format=form) if form else bill
    return [
        Cluster(
            name=cluster,
            elements=[
                Element(name=name, said=said(told) or NOT_KNOWN) for name, said in elements.items()
            ],
        )
        for cluster, elements in ELEMENTS.items()
    ]


def _fact(name: str) -> Said:
    return lambda bill: bill.facts.get(name, "")


def _model(told: Callable[[Model], str]) -> Said:
    return lambda bill: _joined([told(model) for model in bill.models])


def _data(told: Callable[[Data], str]) -> Said:
    return lambda bill: _joined([told(data) for data in bill.data])


def _joined(said: list[str]) -> str:
    """One answer of each; where there are several and one is not known, that is said."""
    return "; ".join(one or NOT_KNOWN for one in said) if any(said) else ""


def _count(what: str, count: int) -> str:
    return f"{count} {what}" if count else ""


def _of(groups: tuple[figures.Group, ...]) -> Said:
    names = {name for group in groups for name in group.figures}

    def told(bill: Bill) -> str:
        found = {
            one.name
            for model in bill.models
            for one in model.figures
            if one.name.rpartition(".")[2] in names
        }
        return ", ".join(sorted(found))

    return told


ELEMENTS: dict[str, dict[str, Said]] = {
    "Metadata": {
        "SBOM author": lambda bill: bill.producer,
        "SBOM version": lambda bill: bill.revision,
        "SBOM data format name": lambda bill: bill.format.partition(" ")[0],
        "SBOM data format version": lambda bill: bill.format.partition(" ")[2],
        "SBOM author signature": _fact("signature"),
        "SBOM tool name": lambda bill: bill.tool.partition(" ")[0],
        "SBOM tool version": lambda bill: bill.tool.partition(" ")[2],
        "SBOM generation context": lambda bill: bill.phase,
        "SBOM timestamp": lambda bill: bill.time,
        "SBOM dependency relationship": lambda bill: _count(
            "relationships", sum(len(part.needs) for part in bill.parts) + len(bill.data)
        ),
    },
    "System Level Properties": {
        "System name": lambda bill: bill.name,
        "System components": lambda bill: _count(
            "components", len(bill.models) + len(bill.data) + len(bill.parts)
        ),
        "System producer": lambda bill: bill.producer,
        "System version": lambda bill: bill.version,
        "System timestamp": lambda bill: bill.time,
        "System data flow": _fact("data-flow"),
        "System data usage": _fact("data-usage"),
        "System input/output properties": _model(lambda model: _sides(model.inputs, model.outputs)),
        "Intended application area": _model(lambda model: ", ".join(model.uses)),
    },
    "Models": {
        "Model name": _model(lambda model: model.name),
        "Model identifier": _model(
            lambda model: f"{model.name}@{model.version}" if model.version else ""
        ),
        "Model version": _model(lambda model: model.version),
        "Model timestamp": _model(lambda model: model.time),
        "Model producer": _model(lambda model: model.producer),
        "Model description": _model(lambda model: model.description),
        "Model hash value": _model(lambda model: ", ".join(model.files.values())),
        "Model hash algorithm": _model(lambda model: "SHA-256" if model.files else ""),
        "Model properties": _model(
            lambda model: ", ".join(filter(None, (model.task, model.family, model.architecture)))
        ),
        "Model input/output properties": _model(lambda model: _sides(model.inputs, model.outputs)),
        "Model training properties": _model(
            lambda model: ", ".join(
                filter(
                    None,
                    (model.training, *(f"{k}={v}" for k, v in sorted(model.parameters.items()))),
                )
            )
        ),
        "Model license": _model(lambda model: model.licence),
        "Model external references": _fact("model-card"),
    },
    "Dataset Properties": {
        "Dataset name": _data(lambda data: data.name),
        "Dataset description": _data(lambda data: data.description),
        "Dataset content": _data(
            lambda data: ", ".join(
                [*data.types, *([] if data.rows is None else [f"{data.rows} rows"])]
            )
        ),
        "Dataset identifier": _data(
            lambda data: f"{data.name}@{data.version}" if data.version else ""
        ),
        "Dataset hash": _data(lambda data: data.digest),
        "Dataset provenance": _data(lambda data: data.origin),
        "Dataset statistical properties": _data(lambda data: "; ".join(data.statistics)),
        "Dataset sensitivity": _data(
            lambda data: data.sensitive + (f": {', '.join(data.columns)}" if data.columns else "")
        ),
        "Dataset dependency relationship": lambda bill: "; ".join(
            f"{model.name} was trained on {data.name}"
            for model in bill.models
            for data in bill.data
        ),
        "Dataset license": _data(lambda data: data.licence),
    },
    "Infrastructure": {
        "Infrastructure software": _fact("software"),
        "Infrastructure hardware": _fact("hardware"),
    },
    "Security Properties": {
        "Security controls": _fact("security-controls"),
        "Security compliance": _fact("security-compliance"),
        "Cybersecurity policy information": _fact("security-policy"),
        "Vulnerability referencing": _fact("vulnerabilities"),
    },
    "Key Performance Indicators": {
        "Security metrics": _of((figures.ROBUST, figures.PRIVATE)),
        "Operational performance KPIs": _of((figures.GOOD, figures.SURE)),
    },
}
"""Cluster -> element -> what a bill says of it."""


def _sides(inputs: list[str], outputs: list[str]) -> str:
    return f"{', '.join(inputs)} -> {', '.join(outputs)}" if inputs or outputs else ""
