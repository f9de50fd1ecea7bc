"""A model on its way to whoever starts it: a folder, as it was exported or as an image is mounted,
or an OCI image layout. All of it is read once, into memory: what is verified is what is used.
"""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from casemate.core.archive import ALWAYS_FINE, MAX_RATIO
from casemate.core.errors import ConfigError, VerificationError
from casemate.core.oci.layout import MAX_LAYERS, Reader
from casemate.core.oci.types import LAYOUT_FILE, MAX_DOCUMENT, Descriptor, Manifest
from casemate.core.signatures import MAX_PAYLOAD
from casemate.stages.release import bundle

APPROVALS = "approvals.jsonl"
"""Signed statements of those who approved the model, one a line."""
ATTESTATION = "application/vnd.in-toto+json"
"""What a referrer with a signed statement about an image is (`artifactType`)."""
BASE_DIGEST = "org.opencontainers.image.base.digest"
"""What an image that was built on another one says of it; models are built on none."""
PROOF_TYPE = "application/vnd.casemate.signature-proof.v1"
"""What a referrer with the log's proof of the model's signature is: proofs grow with the log, and
an image stays as it is.
"""
BESIDE = (bundle.BUNDLE, bundle.PROOF, APPROVALS, *bundle.PUBLIC_KEYS)
"""What may lie beside the model's files; the keys are for people and trusted by nobody."""
MOST_FILES = 10_000
"""Files of a model, counted before their names are compared with what is signed: a folder of
strangers cannot make verifying endless. A judgement: models have a few dozen.
"""
MOST_SAID = 4 * MAX_PAYLOAD
"""Bytes of everything that anybody attached to an image."""
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_READ |= getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_AGAIN = "obtain the model from its owner again"


@dataclass(frozen=True)
class Carried:
    """What was found; nothing in it is verified but the digests of an image."""

    files: dict[str, bytes]
    """The model's files, by path within `model/`."""
    beside: dict[str, bytes]
    """What lies beside them, by name."""
    image: str = ""
    """Digest of the image's manifest."""
    attestations: list[bytes] = field(default_factory=list)
    """What is said of the image, by whomever."""

    @property
    def bundle(self) -> bytes:
        """The signed bundle; VerificationError when there is none."""
        try:
            return self.beside[bundle.BUNDLE]
        except KeyError:
            raise VerificationError(
                f"the model has no {bundle.BUNDLE}: it is unsigned", hint="do not use it"
            ) from None


def is_image(path: Path) -> bool:
    """Whether a folder says that it is an image layout."""
    return (path / LAYOUT_FILE).is_file()


def is_program(path: Path) -> bool:
    """Whether a layout says that its images are programs, built on others."""
    images = [said for _, said in Reader(path).manifests() if said.subject is None]
    return bool(images) and all(BASE_DIGEST in (said.annotations or {}) for said in images)


def program(path: Path, digest: str | None = None) -> tuple[Descriptor, Manifest, Carried]:
    """An image that is no model, whole: every blob is compared with its digest, none is unpacked.

    Args:
        path: an OCI image layout.
        digest: of the image that is meant; see `read`.

    Raises:
        VerificationError: a digest lies, or no or several images are meant.
    """
    reader = Reader(path)
    listed = reader.manifests()
    chosen, manifest = _chosen(listed, digest)
    for blob in (manifest.config, *manifest.layers):
        with reader.opened(blob):
            pass
    said = _all_said(reader, listed, chosen)
    attestations = [content for kind, content in said if kind == ATTESTATION]
    return chosen, manifest, Carried({}, {}, chosen.digest, attestations)


def read(path: Path, digest: str | None = None, limit: int = MAX_LAYERS) -> Carried:
    """A model from a folder or an image layout.

    Args:
        path: where it is.
        digest: of the image that is meant (`sha256:…`); needed where a layout holds several.
        limit: bytes of all its files; of an image whose layers are packed also a hundred times
            what they have, beyond the first 256 MiB.

    Raises:
        VerificationError: a file is no file, a digest lies, or it is too large.
        ConfigError: there is no model, or no such image.
    """
    if is_image(path):
        return _image(Reader(path), digest, limit)
    if not (path / bundle.MODEL_FOLDER).is_dir():
        raise ConfigError(
            f"there is no model at {path}",
            hint="an exported model, the mount of an image, or an OCI image layout",
        )
    if digest is not None:
        raise ConfigError(f"{path} is no image layout, so it has no digest of its own")
    files = _folder(path / bundle.MODEL_FOLDER, limit)
    beside = {}
    for name in BESIDE:
        if (path / name).is_symlink() or (path / name).exists():
            beside[name] = _file(path / name, MAX_PAYLOAD)
    return Carried(files, beside)


def _folder(folder: Path, limit: int) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = limit
    if folder.is_symlink():
        raise VerificationError(f"{folder} is a symbolic link", hint=_AGAIN)
    for place, folders, names in os.walk(folder):
        for name in [*names, *folders]:
            path = Path(place, name)
            if name in folders and not path.is_symlink():
                continue
            if len(files) >= MOST_FILES:
                raise VerificationError(f"the model has more than {MOST_FILES} files")
            content = _file(path, left)
            left -= len(content)
            files[path.relative_to(folder).as_posix()] = content
    return files


def _file(path: Path, limit: int) -> bytes:
    """A regular file of bounded size, never through a link."""
    if path.is_symlink():
        raise VerificationError(f"{path} is a symbolic link", hint=_AGAIN)
    descriptor = os.open(path, _READ)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise VerificationError(f"{path} is no file", hint=_AGAIN)
        content = file.read(limit + 1)
    if len(content) > limit:
        raise VerificationError(f"{path} is larger than the {limit} bytes that are allowed")
    return content


def _image(reader: Reader, digest: str | None, limit: int) -> Carried:
    listed = reader.manifests()
    chosen, manifest = _chosen(listed, digest)
    reader.blob(manifest.config, MAX_DOCUMENT)  # compared with its digest, and no more
    # nobody's signature is known yet: what is packed may grow, but not without end
    given = sum(layer.size for layer in manifest.layers)
    grown = max(ALWAYS_FINE, MAX_RATIO * given)
    limit = min(limit, grown)
    found: dict[str, bytes] = {}
    for layer in manifest.layers:
        files = reader.layer(layer, limit)
        if twice := sorted(set(files) & set(found)):
            raise VerificationError(f"two layers of the image hold {twice[0]!r}", hint=_AGAIN)
        found |= files
        limit -= sum(map(len, files.values()))
    said = _all_said(reader, listed, chosen)
    beside = {name: found[name] for name in BESIDE if name in found}
    proofs = [content for kind, content in said if kind == PROOF_TYPE]
    beside |= {bundle.PROOF: proofs[0]} if proofs else {}
    inside = bundle.MODEL_FOLDER + "/"
    return Carried(
        {name.removeprefix(inside): found[name] for name in found if name.startswith(inside)},
        beside,
        chosen.digest,
        [content for kind, content in said if kind == ATTESTATION],
    )


def _chosen(
    listed: list[tuple[Descriptor, Manifest]], digest: str | None
) -> tuple[Descriptor, Manifest]:
    """The one image of the layout that is about nothing else, or the one that was asked for."""
    images = {entry.digest: (entry, said) for entry, said in listed if said.subject is None}
    if digest is not None:
        if digest not in images:
            raise VerificationError(
                f"the layout does not hold the image {digest}",
                hint="it holds " + (", ".join(sorted(images)) or "none"),
            )
        return images[digest]
    if len(images) != 1:
        raise VerificationError(
            f"the layout holds {len(images)} images, and nobody says which one is meant",
            hint="name it: --digest sha256:…, of " + (", ".join(sorted(images)) or "none"),
        )
    return next(iter(images.values()))


def _all_said(
    reader: Reader, listed: list[tuple[Descriptor, Manifest]], about: Descriptor
) -> list[tuple[str, bytes]]:
    """What everything that is attached to the image is, and holds."""
    referrers = [(entry, document) for entry, document in listed if document.subject is not None]
    sizes = (layer.size for _, document in referrers for layer in document.layers)
    if sum(sizes) > MOST_SAID:
        raise VerificationError(
            f"what is said of the images here has more than {MOST_SAID} bytes",
            hint="copy one image, with what its owner says of it",
        )
    return [
        (kind, content)
        for entry, document in referrers
        for kind, content in _said(reader, entry, document, about)
    ]


def _said(
    reader: Reader, entry: Descriptor, manifest: Manifest, about: Descriptor
) -> list[tuple[str, bytes]]:
    """What a referrer holds and what it is, if it is about this image; compared with its digests in
    any case.
    """
    reader.blob(manifest.config, MAX_DOCUMENT)
    content = [reader.blob(layer, MAX_PAYLOAD) for layer in manifest.layers]
    if manifest.subject is None or manifest.subject.digest != about.digest:
        return []
    kind = manifest.artifactType or entry.artifactType or manifest.config.mediaType
    return [(kind, one) for one in content]
