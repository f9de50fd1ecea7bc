"""A model as an OCI image layout: what it is made of, its bill of materials, and signed provenance.

Two forms hold the same layers. `model` is a CNCF ModelPack artifact, which KitOps, modctl, CRI-O
and Harbor know (https://github.com/modelpack/model-spec). `volume` is a plain image, which every
container runtime can mount (Kubernetes: `volumes.image`) and every image tool can unpack.

The image is the same bytes whenever and wherever it is written. What is said of it (the
attestation) is signed anew each time, and signatures are drawn at random.
"""

import datetime
import io
import json
import uuid
from pathlib import PurePosixPath
from typing import Any, Literal

import msgspec

from casemate.core.digest import sha256
from casemate.core.oci import tars
from casemate.core.oci.layout import Writer
from casemate.core.oci.types import (
    CONFIG_TYPE,
    CREATED,
    EMPTY,
    EMPTY_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    NAMED,
    Descriptor,
    Manifest,
    encode,
    tag,
)
from casemate.core.signatures import Signer
from casemate.core.types import Record, Release
from casemate.stages.release import bundle, card
from casemate.stages.release.admission import PROVENANCE
from casemate.stages.release.carried import ATTESTATION, PROOF_TYPE

Form = Literal["model", "volume"]
MODEL_MANIFEST = "application/vnd.cncf.model.manifest.v1+json"
MODEL_CONFIG = "application/vnd.cncf.model.config.v1+json"
WEIGHTS, DOCUMENTS = (
    "application/vnd.cncf.model.weight.v1.tar",
    "application/vnd.cncf.model.doc.v1.tar",
)
FILE_PATH = "org.cncf.model.filepath"
BUILD_TYPE = "https://casemate.dev/model-image/v1"
ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"
BILL_TYPE = "application/vnd.cyclonedx+json"
PREDICATE_TYPE = "in-toto.io/predicate-type"
BILL = "mlbom.cdx.json"
DOCUMENTED = (card.NAME, card.PAGE, BILL)
"""Files of the model that are for people and other tools."""


class Written(Record, frozen=True, kw_only=True):
    """An image that was written."""

    folder: str
    """The layout."""
    tag: str
    """Its name within the layout."""
    digest: str
    """Of its manifest: what a deployment names."""
    form: str
    """`model` or `volume`."""
    size: int
    """Bytes of its layers."""


def write(
    writer: Writer,
    form: Form,
    release: Release,
    model: bundle.VerifiedModel,
    beside: dict[str, bytes],
    signer: Signer,
    project: str,
    tool: str,
    moment: int,
) -> Written:
    """Fill a layout with a model, and with what is said of it.

    Args:
        writer: of a new layout.
        form: see the module.
        release: what the registry says of the model.
        model: verified.
        beside: bundle, public keys, approvals and proof, by name.
        signer: of the project.
        project: its id.
        tool: version of casemate.
        moment: time of every file, seconds since 1970.
    """
    proof = beside.get(bundle.PROOF)
    beside = {name: content for name, content in beside.items() if name != bundle.PROOF}
    folder = bundle.MODEL_FOLDER
    inside = {f"{folder}/{name}": content for name, content in model.files.items()}
    documents = {name for name in inside if PurePosixPath(name).name in DOCUMENTED}
    parts = [
        ({name: inside[name] for name in inside if name not in documents}, WEIGHTS, folder),
        ({name: inside[name] for name in documents}, DOCUMENTS, folder),
        (beside, DOCUMENTS, bundle.BUNDLE),
    ]
    layers = [_layer(writer, *part, form, moment) for part in parts]
    time = datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat()
    config, kind = _config(form, model.card, layers, tool, time)
    name, version = model.card.name, str(model.card.model_version)
    said = {
        CREATED: time,
        "org.opencontainers.image.title": name,
        "org.opencontainers.image.version": version,
        "dev.casemate.model.signer": model.fingerprint,
    }
    manifest = Manifest(
        schemaVersion=2,
        mediaType=MANIFEST_TYPE,
        artifactType=MODEL_MANIFEST if form == "model" else None,
        config=writer.add(config, kind),
        layers=layers,
        annotations=said,
    )
    named = tag(f"{name}-{version}")
    image = writer.manifest(manifest, {NAMED: named})
    bill = _bill(model, beside, image, moment)
    attestation = signer.sign_statement(
        {f"{name}@{version}": image.hexadecimal},
        PROVENANCE,
        provenance(
            release, model, form, project, tool, sha256(beside[bundle.BUNDLE]), sha256(bill)
        ),
    )
    referrers = [
        referrer(
            writer, image, attestation, ATTESTATION, ENVELOPE_TYPE, {PREDICATE_TYPE: PROVENANCE}
        ),
        referrer(writer, image, bill, BILL_TYPE, BILL_TYPE, {}),
    ]
    if proof is not None:
        referrers.append(referrer(writer, image, proof, PROOF_TYPE, PROOF_TYPE, {}))
    writer.finish([image, *referrers])
    size = sum(layer.size for layer in layers)
    return Written(folder=str(writer.folder), tag=named, digest=image.digest, form=form, size=size)


def _layer(
    writer: Writer, files: dict[str, bytes], kind: str, where: str, form: Form, moment: int
) -> Descriptor:
    packed = io.BytesIO()
    tars.pack(files, packed, moment)
    if form == "volume":
        return writer.add(packed.getvalue(), LAYER_TYPE)
    return writer.add(packed.getvalue(), kind, {FILE_PATH: where})


def _config(
    form: Form, said: bundle.Card, layers: list[Descriptor], tool: str, time: str
) -> tuple[bytes, str]:
    """What the manifest's `config` says, and its type; layers are not packed, so their digests are
    those of their content.
    """
    digests = [layer.digest for layer in layers]
    if form == "volume":
        document: dict[str, Any] = {
            "created": time,
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": digests},
            "history": [{"created": time, "created_by": f"casemate {tool}"} for _ in digests],
        }
        return encode(document), CONFIG_TYPE
    document = {
        "descriptor": {
            "createdAt": time,
            "name": said.name,
            "version": str(said.model_version),
            "description": said.purpose,
        },
        "modelfs": {"type": "layers", "diffIds": digests},
        "config": {"format": said.serve_format},
    }
    return encode(document), MODEL_CONFIG


def referrer(
    writer: Writer,
    image: Descriptor,
    content: bytes,
    artifact_type: str,
    media_type: str,
    annotations: dict[str, str],
) -> Descriptor:
    """A manifest about an image (`subject`), as image-spec 1.1 describes them.

    Args:
        writer: of the layout.
        image: what it is about.
        content: what it says.
        artifact_type: what it is.
        media_type: of the content.
        annotations: of manifest and content.

    Returns:
        its entry for the index.
    """
    subject = Descriptor(mediaType=image.mediaType, digest=image.digest, size=image.size)
    manifest = Manifest(
        schemaVersion=2,
        mediaType=MANIFEST_TYPE,
        artifactType=artifact_type,
        config=writer.add(EMPTY, EMPTY_TYPE),
        layers=[writer.add(content, media_type, annotations or None)],
        subject=subject,
        annotations=annotations or None,
    )
    return writer.manifest(manifest)


def provenance(
    release: Release,
    model: bundle.VerifiedModel,
    form: Form,
    project: str,
    tool: str,
    signed: str,
    bill: str,
) -> dict[str, Any]:
    """Where an image comes from, as an SLSA provenance predicate
    (https://slsa.dev/spec/v1.2/build-provenance).

    Args:
        release: what the registry says of the model.
        model: verified.
        form: of the image.
        project: its id.
        tool: version of casemate.
        signed: SHA-256 of the model's bundle.
        bill: SHA-256 of the image's bill of materials.
    """
    lineage = release.lineage
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "model": model.card.name,
                "version": model.card.model_version,
                "stage": model.card.stage,
                "form": form,
            },
            "internalParameters": {"lineage": msgspec.to_builtins(lineage)},
            "resolvedDependencies": [
                {"name": bundle.BUNDLE, "digest": {"sha256": signed}},
                {"name": bundle.MODEL_FOLDER, "digest": {"sha256": model.digest}},
                {
                    "name": f"{lineage.dataset}@{lineage.dataset_version}",
                    "digest": {"sha256": lineage.source_digest},
                },
            ],
        },
        "runDetails": {
            "builder": {
                "id": f"https://casemate.dev/project/{project}",
                "version": {"casemate": tool},
            },
            "metadata": {"invocationId": lineage.run},
            "byproducts": [{"name": "bill of materials", "digest": {"sha256": bill}}],
        },
    }


def _bill(
    model: bundle.VerifiedModel, beside: dict[str, bytes], image: Descriptor, moment: int
) -> bytes:
    """What is in the image: every file with its SHA-256 (CycloneDX 1.6). What the model was made of
    is in its own bill, which is one of the files.
    """
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    def hashed(digest: str) -> list[HashType]:
        return [HashType(alg=HashAlgorithm.SHA_256, content=digest)]

    files = {f"{bundle.MODEL_FOLDER}/{name}": content for name, content in model.files.items()}
    name, version = model.card.name, str(model.card.model_version)
    learnt = Component(
        name=name,
        version=version,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref="model",
        hashes=hashed(model.digest),
    )
    parts = [
        Component(name=path, type=ComponentType.FILE, bom_ref=path, hashes=hashed(sha256(content)))
        for path, content in sorted((files | beside).items())
    ]
    bom = Bom(
        components=[learnt, *parts],
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, image.digest),
    )
    bom.metadata.timestamp = datetime.datetime.fromtimestamp(moment, datetime.UTC)
    bom.metadata.component = Component(
        name=name,
        version=version,
        type=ComponentType.CONTAINER,
        bom_ref="image",
        hashes=hashed(image.hexadecimal),
    )
    bom.register_dependency(bom.metadata.component, [learnt])
    bom.register_dependency(learnt, parts)
    document = json.loads(
        make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string()
    )
    return json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"
