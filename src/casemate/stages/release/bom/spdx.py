"""A bill as SPDX 3.0.1 in JSON-LD, with its AI and Dataset profiles.

Spec: https://spdx.github.io/spdx-spec/v3.0.1/. The SPDX project's own bindings, which are made of
the model's SHACL shapes, write it: a value, type or number that the model forbids is refused. What
the model has no place for stands in `CdxPropertiesExtension`, as CycloneDX's properties do.
"""

import datetime
import io
from typing import Any

import msgspec

from casemate.core.errors import ConfigError
from casemate.stages.release.bom import forms
from casemate.stages.release.bom.clusters import clusters
from casemate.stages.release.bom.cyclonedx import FAIRNESS, G7, OURS
from casemate.stages.release.bom.materials import Bill, Data, Figure, Model, Part

UNDATED = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
"""Of a bill that does not say when it was made: the model demands a time."""
PURPOSES = {
    "file": "file",
    "platform": "platform",
    "operating-system": "operatingSystem",
    "application": "application",
    "framework": "framework",
    "container": "container",
    "firmware": "firmware",
    "device": "device",
}
KINDS = {purpose: kind for kind, purpose in PURPOSES.items()}


class Writer:
    """The elements of one document."""

    def __init__(self, bill: Bill) -> None:
        try:
            from spdx_python_model.bindings import v3_0_1 as spdx
        except ModuleNotFoundError as error:
            raise ConfigError(
                "SPDX needs the extra 'bom'", hint="pip install 'casemate[bom]'"
            ) from error
        self.spdx: Any = spdx
        self.bill = bill
        self.space = f"urn:uuid:{forms.serial(bill, 'spdx-3.0')}"
        self.objects = spdx.SHACLObjectSet()
        made = datetime.datetime.fromisoformat(bill.time) if bill.time else UNDATED
        self.creation = spdx.CreationInfo(created=made, specVersion="3.0.1")
        self.elements: list[Any] = []
        self._licences: dict[str, Any] = {}
        self._authors: dict[str, Any] = {}
        self.producer = (
            self.add(spdx.Organization, "producer", name=bill.producer) if bill.producer else None
        )
        name, _, version = bill.tool.partition(" ")
        self.tool = self.add(spdx.SoftwareAgent, "tool-agent", name=bill.tool or "not known")
        self.creation.createdBy = [self.producer or self.tool]
        self.creation.createdUsing = [
            self.add(spdx.Tool, "tool", name=name or "not known", description=version or None)
        ]

    def add(self, kind: Any, fragment: str, **values: Any) -> Any:
        """An element of the document."""
        given = {key: value for key, value in values.items() if value not in (None, [], "")}
        element = kind(spdxId=f"{self.space}#{fragment}", creationInfo=self.creation, **given)
        self.elements.append(element)
        self.objects.add(element)
        return element

    def relate(self, one: Any, kind: str, to: list[Any]) -> None:
        """That one element is something to others."""
        if to:
            fragment = f"relationship-{len(self.elements)}"
            kinds = self.spdx.RelationshipType
            self.add(
                self.spdx.Relationship,
                fragment,
                from_=one,
                relationshipType=getattr(kinds, kind),
                to=to,
            )

    def properties(self, element: Any, said: list[tuple[str, str]]) -> None:
        """What the model has no place for."""
        if not said:
            return
        spdx = self.spdx
        entries = [
            spdx.extension_CdxPropertyEntry(
                extension_cdxPropName=name, extension_cdxPropValue=value
            )
            for name, value in said
        ]
        element.extension = [spdx.extension_CdxPropertiesExtension(extension_cdxProperty=entries)]

    def hashes(self, files: dict[str, str]) -> list[Any]:
        """Digests, each with what it is of."""
        return [
            self.spdx.Hash(
                algorithm=self.spdx.HashAlgorithm.sha256,
                hashValue=digest,
                **({"comment": name} if name else {}),
            )
            for name, digest in files.items()
            if digest
        ]

    def entries(self, said: dict[str, str]) -> list[Any]:
        """A dictionary."""
        return [self.spdx.DictionaryEntry(key=key, value=value) for key, value in said.items()]

    def licensed(self, element: Any, text: str) -> None:
        """Which licence is declared; that nobody came to a conclusion of their own is said too."""
        self.relate(element, "hasDeclaredLicense", [self._licence(text)])
        self.relate(element, "hasConcludedLicense", [self._licence("")])

    def author(self, name: str) -> Any:
        """Who made something; the model wants an agent, and nobody knows of which kind."""
        if name and name not in self._authors:
            agent = f"author-{len(self._authors)}"
            self._authors[name] = self.add(self.spdx.Agent, agent, name=name)
        return self._authors.get(name)

    def _licence(self, text: str) -> Any:
        from cyclonedx.spdx import fixup_id, is_expression

        if text in self._licences:
            return self._licences[text]
        spdx = self.spdx
        if not text:
            found: Any = spdx.expandedlicensing_IndividualLicensingInfo.NoAssertionLicense
        elif fixup_id(text) or is_expression(text):
            found = self.add(
                spdx.simplelicensing_LicenseExpression,
                f"licence-{len(self._licences)}",
                simplelicensing_licenseExpression=fixup_id(text) or text,
            )
        else:
            found = self.add(
                spdx.simplelicensing_SimpleLicensingText,
                f"licence-{len(self._licences)}",
                name=text,
                simplelicensing_licenseText=text,
            )
        self._licences[text] = found
        return found


def written(bill: Bill) -> bytes:
    """The document: the same bytes of the same bill.

    Raises:
        ConfigError: the bindings are not installed, or the model forbids something of it.
    """
    try:
        return _written(Writer(bill))
    except (ValueError, TypeError) as error:  # what the bindings say of a value
        raise ConfigError(
            f"SPDX takes no such bill: {str(error)[:200]}", hint="write it as CycloneDX"
        ) from error


def _written(writer: Writer) -> bytes:
    spdx, bill = writer.spdx, writer.bill
    packages = [_part(writer, number, part) for number, part in enumerate(bill.parts)]
    parts = {
        part.name: package
        for part, package in zip(bill.parts, packages, strict=True)
        if part.kind != "file"
    }
    models = [_model(writer, number, model) for number, model in enumerate(bill.models)]
    data = [_data(writer, number, one) for number, one in enumerate(bill.data)]
    needed = {name for part in bill.parts for name in part.needs}
    for part, package in zip(bill.parts, packages, strict=True):
        writer.relate(package, "dependsOn", [parts[name] for name in part.needs if name in parts])
    for model in models:
        writer.relate(model, "trainedOn", data)
        writer.relate(model, "testedOn", data)
        writer.relate(
            model, "dependsOn", [one for one in packages if one.name not in needed] or packages
        )
    kinds = spdx.software_SbomType
    bom = writer.add(
        spdx.software_Sbom,
        "sbom",
        name=bill.reference,
        software_sbomType=[kinds.build] if bill.phase == "build" else [],
        rootElement=[*models, *data],
        element=[*models, *data, *packages],
        profileConformance=_profiles(spdx),
    )
    document = writer.add(
        spdx.SpdxDocument,
        "document",
        name=bill.reference,
        rootElement=[bom],
        profileConformance=_profiles(spdx),
    )
    document.element = [one for one in writer.elements if one is not document]
    writer.properties(
        document,
        [
            (f"{G7}{cluster.name}:{one.name}", one.said)
            for cluster in clusters(bill, forms.TITLES["spdx-3.0"])
            for one in cluster.elements
        ],
    )
    buffer = io.BytesIO()
    spdx.JSONLDSerializer().write(writer.objects, buffer)
    document_ = msgspec.json.decode(buffer.getvalue())
    document_["@graph"].sort(key=_place)
    return msgspec.json.format(msgspec.json.encode(document_, order="sorted"), indent=2) + b"\n"


def _place(element: dict[str, Any]) -> tuple[str, str]:
    return str(element.get("type")), str(element.get("spdxId", element.get("@id")))


def _profiles(spdx: Any) -> list[Any]:
    kinds = spdx.ProfileIdentifierType
    return [
        kinds.core,
        kinds.software,
        kinds.simpleLicensing,
        kinds.expandedLicensing,
        kinds.ai,
        kinds.dataset,
        kinds.extension,
    ]


def _part(writer: Writer, number: int, part: Part) -> Any:
    purposes = writer.spdx.software_SoftwarePurpose
    file = part.kind == "file"
    found = writer.add(
        writer.spdx.software_Package,
        f"part-{number}",
        name=part.name,
        software_packageVersion=part.version,
        software_packageUrl=part.purl,
        suppliedBy=writer.author(part.author),
        software_primaryPurpose=getattr(
            purposes, PURPOSES.get(part.kind, "library"), purposes.other
        ),
        verifiedUsing=writer.hashes({"": part.digest}) if file else [],
    )
    if part.digest and not file:
        writer.properties(found, [(f"{OURS}content", part.digest)])
    writer.licensed(found, part.licence)
    return found


def _metric(figure: Figure) -> str:
    return (
        f"{figure.value} [{figure.low}, {figure.high}]"
        if figure.low or figure.high
        else figure.value
    )


def _model(writer: Writer, number: int, model: Model) -> Any:
    spdx, bill = writer.spdx, writer.bill
    presence = spdx.PresenceType
    sensitive = {data.sensitive for data in bill.data}
    found = writer.add(
        spdx.ai_AIPackage,
        f"model-{number}",
        name=model.name,
        description=model.description,
        software_packageVersion=model.version,
        software_primaryPurpose=spdx.software_SoftwarePurpose.model,
        suppliedBy=writer.producer,
        builtTime=_time(model.time),
        verifiedUsing=writer.hashes(model.files),
        ai_typeOfModel=[text for text in (model.family, model.architecture) if text],
        ai_domain=model.uses,
        ai_hyperparameter=writer.entries(model.parameters),
        ai_metric=writer.entries({one.name: _metric(one) for one in model.figures}),
        ai_informationAboutTraining=model.training,
        ai_informationAboutApplication=_application(model),
        ai_limitation="\n".join(model.limits),
        ai_useSensitivePersonalInformation=(
            presence.yes if "yes" in sensitive else presence.noAssertion
        ),
    )
    writer.properties(
        found,
        [
            *((OURS + name, said) for name, said in bill.facts.items()),
            *((f"{OURS}revision", text) for text in (bill.revision,) if text),
            *((f"{OURS}task", text) for text in (model.task,) if text),
            *((f"{OURS}family", text) for text in (model.family,) if text),
            *((f"{OURS}architecture", text) for text in (model.architecture,) if text),
            *((f"{OURS}input", text) for text in model.inputs),
            *((f"{OURS}output", text) for text in model.outputs),
            *((f"{OURS}limit", text) for text in model.limits),
            *((f"{OURS}tradeoff", text) for text in model.tradeoffs),
            *((FAIRNESS, text) for text in model.fairness),
        ],
    )
    writer.licensed(found, model.licence)
    return found


def _application(model: Model) -> str:
    return "; ".join(
        [*(f"takes {one}" for one in model.inputs), *(f"gives {one}" for one in model.outputs)]
    )


def _time(text: str) -> datetime.datetime | None:
    return datetime.datetime.fromisoformat(text) if text else None


def _data(writer: Writer, number: int, data: Data) -> Any:
    spdx = writer.spdx
    presence = spdx.PresenceType
    found = writer.add(
        spdx.dataset_DatasetPackage,
        f"data-{number}",
        name=data.name,
        description=data.description,
        software_packageVersion=data.version,
        software_primaryPurpose=spdx.software_SoftwarePurpose.data,
        builtTime=_time(writer.bill.time),
        originatedBy=[writer.producer] if writer.producer else [],
        verifiedUsing=writer.hashes({"": data.digest}),
        dataset_datasetType=[spdx.dataset_DatasetType.structured],
        dataset_datasetSize=data.rows,
        dataset_dataCollectionProcess=data.origin,
        dataset_hasSensitivePersonalInformation={
            "yes": presence.yes,
            "no": presence.no,
        }.get(data.sensitive, presence.noAssertion),
    )
    said = [("type", data.types), ("sensitive", data.columns), ("statistic", data.statistics)]
    writer.properties(found, [(OURS + name, text) for name, all_ in said for text in all_])
    writer.licensed(found, data.licence)
    return found
