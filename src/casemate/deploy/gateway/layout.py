"""The image of the gateway as an OCI layout: a base that lies here, and one layer."""

import datetime
import json
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from casemate import __version__
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, VerificationError
from casemate.core.files import scratch_folder, whole_folder
from casemate.core.oci import tars
from casemate.core.oci.layout import Reader, Writer
from casemate.core.oci.types import (
    CONFIG_TYPE,
    CREATED,
    LAYER_TYPE,
    LAYOUT_FILE,
    MANIFEST_TYPE,
    MAX_DOCUMENT,
    NAMED,
    Descriptor,
    Manifest,
    encode,
    tag,
)
from casemate.core.types import Record
from casemate.deploy.gateway.packages import Package, files, install
from casemate.deploy.gateway.words import (
    CMD,
    ENTRYPOINT,
    ENVIRONMENT,
    KEYS,
    MODEL,
    PACKAGES,
    PROJECT,
    RUN,
    USER,
)
from casemate.stages.release.admission import GATEWAY_TYPE, PROVENANCE
from casemate.stages.release.carried import ATTESTATION, BASE_DIGEST
from casemate.stages.release.image import BILL_TYPE, ENVELOPE_TYPE, PREDICATE_TYPE, referrer

Attest = Callable[[str, dict[str, Any]], bytes]
"""Signs provenance: digest of the image in hexadecimal, and what is said of it."""


class Built(Record, frozen=True, kw_only=True):
    """An image of the gateway."""

    folder: str
    """The layout."""
    tag: str
    """Its name within the layout."""
    digest: str
    """Of its manifest: what a deployment names."""
    base: str
    """Digest of the manifest that it is built on."""
    packages: list[Package]
    """What is in its layer."""


def build(
    folder: Path,
    base: Path,
    wheels: Path,
    locks: Sequence[Path],
    *,
    base_digest: str | None = None,
    python: str = "/usr/bin/python3",
    python_version: str | None = None,
    platforms: Sequence[str] = (),
    moment: int = 0,
    attest: Attest | None = None,
) -> Built:
    """Write the image into a new folder.

    Args:
        folder: nothing, or an empty folder.
        base: an OCI image layout with one image, as `skopeo copy docker://… oci:…` writes it.
        wheels: files of packages.
        locks: requirements files with hashes, which name those files.
        base_digest: that the base must have.
        python: the interpreter in the base.
        python_version: see `packages.install`.
        platforms: see `packages.install`.
        moment: time of every file of the layer, seconds since 1970.
        attest: signs where the image comes from; None: nobody says so.

    Raises:
        ConfigError: a folder is not empty, or pip refuses. VerificationError: the base is not what
            its digests say.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists already", hint="name a new folder")
    if not (base / LAYOUT_FILE).is_file():
        raise ConfigError(
            f"there is no image layout at {base}",
            hint=f"skopeo copy docker://NAME@sha256:… oci:{base}:1",
        )
    reader = Reader(base)
    entry, under = _base(reader, base_digest)
    with whole_folder(folder.absolute(), 0o755) as draft, scratch_folder(draft.parent) as scratch:
        draft.chmod(0o755)
        writer = Writer(draft)
        for layer in under.layers:
            writer.copy(reader, layer)
        packages = install(scratch / "lib", wheels, locks, python_version, platforms)
        with (scratch / "layer.tar").open("wb") as file:
            found = files(scratch / "lib")
            owned = {RUN.lstrip("/"): USER} | {
                place.lstrip("/"): 0 for place in (MODEL, KEYS, PROJECT)
            }
            tars.pack(
                {f"{PACKAGES}/{name}": path for name, path in found.items()}, file, moment, owned
            )
        own = writer.move(scratch / "layer.tar", LAYER_TYPE)
        time = datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat()
        config = _config(reader.blob(under.config, MAX_DOCUMENT), own.digest, python, time)
        said = {CREATED: time, BASE_DIGEST: entry.digest}
        said["org.opencontainers.image.version"] = __version__
        manifest = Manifest(
            schemaVersion=2,
            mediaType=MANIFEST_TYPE,
            config=writer.add(encode(config), CONFIG_TYPE),
            layers=[*under.layers, own],
            annotations=said,
        )
        named = tag(__version__)
        image = writer.manifest(manifest, {NAMED: named})
        bill = _bill(image, entry.digest, packages, moment)
        about = [referrer(writer, image, bill, BILL_TYPE, BILL_TYPE, {})]
        if attest is not None:
            said_of_it = _provenance(entry.digest, packages, locks, python, sha256(bill))
            signed = attest(image.hexadecimal, said_of_it)
            kind = {PREDICATE_TYPE: PROVENANCE}
            about.append(referrer(writer, image, signed, ATTESTATION, ENVELOPE_TYPE, kind))
        writer.finish([image, *about])
    return Built(
        folder=str(folder), tag=named, digest=image.digest, base=entry.digest, packages=packages
    )


def _provenance(
    base: str, packages: list[Package], locks: Sequence[Path], python: str, bill: str
) -> dict[str, Any]:
    """Where the image comes from, as an SLSA provenance predicate without its builder
    (https://slsa.dev/spec/v1.2/build-provenance).
    """
    return {
        "buildDefinition": {
            "buildType": GATEWAY_TYPE,
            "externalParameters": {"python": python, "version": __version__},
            "resolvedDependencies": [
                {"name": "base", "digest": {"sha256": base.partition(":")[2]}},
                *(
                    {"name": lock.name, "digest": {"sha256": sha256(lock.read_bytes())}}
                    for lock in locks
                ),
                *(
                    {
                        "uri": f"pkg:pypi/{one.name.lower()}@{one.version}",
                        "digest": {"sha256": one.sha256},
                    }
                    for one in packages
                ),
            ],
        },
        "runDetails": {
            "byproducts": [{"name": "bill of materials", "digest": {"sha256": bill}}],
        },
    }


def _base(reader: Reader, digest: str | None) -> tuple[Descriptor, Manifest]:
    images = [one for one in reader.manifests() if one[1].subject is None]
    chosen = [one for one in images if digest in (None, one[0].digest)]
    if len(chosen) != 1:
        raise VerificationError(
            f"{reader.folder} holds {len(images)} images, of which {len(chosen)} are meant",
            hint="--base-digest, of " + (", ".join(one[0].digest for one in images) or "none"),
        )
    if chosen[0][1].config.mediaType != CONFIG_TYPE:
        raise VerificationError(
            f"{reader.folder} holds no image to build on", hint="skopeo copy docker://… oci:…"
        )
    return chosen[0]


def _config(base: bytes, layer: str, python: str, time: str) -> dict[str, Any]:
    """The base's configuration with our layer, user and beginning."""
    try:
        document = msgspec.json.decode(base, type=dict[str, Any])
        digests = [str(digest) for digest in document["rootfs"]["diff_ids"]]
        before = dict(document.get("config") or {})
        variables = dict(one.split("=", 1) for one in before.get("Env") or [])
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise VerificationError("the base's configuration is malformed") from error
    kept = {name: before[name] for name in ("Labels", "StopSignal") if name in before}
    return {
        **{name: document[name] for name in ("architecture", "os", "variant") if name in document},
        "created": time,
        "config": {
            **kept,
            "User": f"{USER}:{USER}",
            "WorkingDir": "/",
            "Env": [f"{name}={value}" for name, value in sorted((variables | ENVIRONMENT).items())],
            "Entrypoint": [python, *ENTRYPOINT],
            "Cmd": [python, *CMD],
        },
        "rootfs": {"type": "layers", "diff_ids": [*digests, layer]},
        "history": [
            *(document.get("history") or []),
            {"created": time, "created_by": f"casemate {__version__}"},
        ],
    }


def _bill(image: Descriptor, base: str, packages: list[Package], moment: int) -> bytes:
    """What our layer holds, with the SHA-256 of the file that each came from (CycloneDX 1.6)."""
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion
    from packageurl import PackageURL

    def component(name: str, version: str, kind: ComponentType, digest: str) -> Component:
        return Component(
            name=name,
            version=version,
            type=kind,
            bom_ref=f"{name}@{version}",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
            purl=PackageURL("pypi", None, name.lower(), version)
            if kind is ComponentType.LIBRARY
            else None,
        )

    whole = component("casemate-gateway", __version__, ComponentType.CONTAINER, image.hexadecimal)
    under = component("base", base, ComponentType.CONTAINER, base.partition(":")[2])
    parts = [
        component(one.name, one.version, ComponentType.LIBRARY, one.sha256) for one in packages
    ]
    bom = Bom(
        components=[under, *parts], serial_number=uuid.uuid5(uuid.NAMESPACE_URL, image.digest)
    )
    bom.metadata.component = whole
    bom.metadata.timestamp = datetime.datetime.fromtimestamp(moment, datetime.UTC)
    bom.register_dependency(whole, [under, *parts])
    document = json.loads(
        make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string()
    )
    return json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"
