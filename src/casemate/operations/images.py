"""Models as images for other people's registries, and the list of those that must not be started
any more.
"""

from pathlib import Path
from typing import Any

import msgspec

from casemate import __version__
from casemate.core.errors import ConfigError, Error, RefusedError
from casemate.core.files import whole_folder, write_atomic
from casemate.core.oci.layout import Writer
from casemate.core.types import Release
from casemate.operations.acting import Noun, operation
from casemate.operations.approved import require_approved
from casemate.operations.holds import require_none
from casemate.operations.rights.kept import require_kept
from casemate.stages.release import bundle, image
from casemate.stages.release.admission import (
    PROVENANCE,
    WITHDRAWN_TYPE,
    Gone,
    Withdrawals,
)
from casemate.wiring import Wiring


@operation("model:export", "Model")
def write(
    project: Wiring,
    reference: str,
    folder: str | Path,
    *,
    form: image.Form = "model",
    moment: int = 0,
) -> image.Written:
    """Write a verified model as an OCI image layout, with its bill of materials and signed
    provenance.

    Args:
        project: whose model.
        reference: `NAME` or `NAME@VERSION`.
        folder: a new folder.
        form: `model`: a ModelPack artifact; `volume`: a plain image, to be mounted.
        moment: time of every file in it, seconds since 1970.

    Raises:
        AccessDenied: policy. RefusedError: approvals are missing, or it is held or withdrawn.
        VerificationError: something does not hold. ConfigError: the folder is not empty.
    """
    folder = Path(folder)
    release = project.registry.get(reference).release
    acting = write.ask(project, release.model, version=release.model_version)
    require_startable(project, release)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists already", hint="name a new folder")
    model = project.registry.verify(f"{release.model}@{release.model_version}")
    approvals = project.approvals.statements(release)
    beside = project.registry.beside(release, model.signer, approvals)
    with whole_folder(folder.absolute(), 0o755) as draft:
        draft.chmod(0o755)
        made = image.write(
            Writer(draft),
            form,
            release,
            model,
            beside,
            project.signer,
            project.config.project.id,
            __version__,
            moment,
        )
    about = f'Model::"{release.model}"'
    acting.record(
        "model:packaged", about, version=release.model_version, image=made.digest, form=form
    )
    return msgspec.structs.replace(made, folder=str(folder))


def require_startable(project: Wiring, release: Release) -> None:
    """RefusedError while approvals are missing, a waiver has ended, a hold keeps the model from
    being released, or it was withdrawn for somebody whose rows taught it.
    """
    reference = f"{release.model}@{release.model_version}"
    require_approved(project, reference)
    require_none(project, "releases", reference)
    require_kept(project, reference)


@operation("model:export", "Model")
def withdrawn(project: Wiring, file: str | Path) -> Withdrawals:
    """Write the signed list of the project's models that must not be started any more: those that
    are held, or withdrawn for somebody whose rows taught them.

    Args:
        project: whose models.
        file: `withdrawn.json`, to be put beside the public keys.

    Raises:
        AccessDenied: policy.
    """
    withdrawn.ask(project, project.config.project.name)
    gone = []
    for registered in project.registry.list():
        release = registered.release
        if release.bundle is None:
            continue
        try:
            require_none(project, "releases", registered.reference)
            require_kept(project, registered.reference)
        except RefusedError as error:
            gone.append(
                Gone(
                    model=registered.reference,
                    bundle=release.bundle,
                    signed=_signed(project, release.bundle),
                    reason=error.message,
                )
            )
    listed = Withdrawals(
        project=project.config.project.id, time=project.clock.now().isoformat(), models=gone
    )
    signed = project.signer.sign(listed.to_json(), WITHDRAWN_TYPE)
    write_atomic(Path(file).absolute(), msgspec.json.encode(signed), mode=0o644)
    return listed


@operation("model:export", "Model")
def attest(project: Wiring, name: str, digest: str, predicate: dict[str, Any]) -> bytes:
    """Sign where an image comes from, for whoever may give the project's models away.

    Args:
        project: who built it.
        name: of the image.
        digest: of its manifest, SHA-256 in hexadecimal.
        predicate: SLSA provenance without its builder, which is the project.

    Raises:
        AccessDenied: policy.

    Returns:
        an in-toto statement in an envelope (DSSE).
    """
    model = project.config.project.name
    acting = attest.ask(project, model)
    builder = {
        "id": f"https://casemate.dev/project/{project.config.project.id}",
        "version": {"casemate": __version__},
    }
    run = predicate.get("runDetails", {}) | {"builder": builder}
    signed = project.signer.sign_statement(
        {name: digest}, PROVENANCE, predicate | {"runDetails": run}
    )
    acting.record("image:attested", f'Model::"{model}"', image=f"sha256:{digest}", name=name)
    return signed


def _signed(project: Wiring, digest: str) -> str:
    """SHA-256 of what a bundle signs; empty where the bundle cannot be had, for then its own digest
    is all that is known of it.
    """
    try:
        return bundle.payload_digest(project.objects.get(digest))
    except (Error, OSError):
        return ""


class Images(Noun):
    """What can be done with models as images."""

    write = write
    attest = attest
    withdrawn = withdrawn
