"""What can be asked of bills of materials.

All of a bill comes from the file that is signed with the model, so nothing that happens later
changes it: the same model has the same bytes of each form, here and wherever it was handed to.
"""

from pathlib import Path

from casemate.core.digest import sha256
from casemate.core.errors import ConfigError
from casemate.core.files import write_atomic
from casemate.core.types import Record, Release
from casemate.operations.acting import operation
from casemate.stages.release.bom import files, forms
from casemate.stages.release.bom.files import Signed
from casemate.stages.release.bom.forms import Form
from casemate.stages.release.bom.materials import Bill
from casemate.wiring import Wiring


class Exported(Record, frozen=True, kw_only=True):
    """What was written."""

    reference: str
    form: Form
    sha256: str
    size: int
    """Bytes."""
    signature: str
    """File with the signature."""


@operation("model:read", "Model")
def show(project: Wiring, reference: str = "") -> Bill:
    """The bill of a model, passed or refused.

    Args:
        project: whose.
        reference: `NAME`, `NAME@VERSION`, or the id of the run that made it; empty: the newest.

    Raises:
        AccessDenied: policy. ConfigError: there is none. VerificationError: it was changed.
    """
    release = _release(project, reference)
    show.ask(project, release.model, unrecorded=True)
    return _bill(project, release)[0]


@operation("evidence:write")
def export(
    project: Wiring, reference: str, file: Path | str, form: Form = "cyclonedx-1.7"
) -> Exported:
    """Write a model's bill, and its signature beside it as `FILE.sig`.

    Args:
        project: whose.
        reference: as `show` takes it.
        file: to write.
        form: `cyclonedx-1.7`, `cyclonedx-1.6` or `spdx-3.0`.

    Raises:
        AccessDenied: policy. ConfigError: there is no such model or form, or SPDX's extra is not
            installed. VerificationError: it was changed.
    """
    if form not in forms.FORMS:
        raise ConfigError(
            f"there is no form {form[:80]!r}", hint=f"one of {', '.join(forms.FORMS)}"
        )
    file, acting = Path(file), export.ask(project, unrecorded=True)
    signature = files.signature_of(file)
    for one in (file, signature):  # before either is written
        files.require_name(one)
    release = _release(project, reference)
    bill, model = _bill(project, release)
    content = files.written(bill, form)
    said = Signed(
        project=project.config.project.id,
        reference=bill.reference,
        run=release.lineage.run,
        model=model,
    )
    envelope = files.sign(content, said, project.signer)
    # a crash in between leaves two that do not fit, which verifies as nothing
    write_atomic(file, content, 0o644)
    write_atomic(signature, envelope, 0o644)
    acting.record("bom:written", f'Model::"{release.model}"', sha256=sha256(content), form=form)
    return Exported(
        reference=bill.reference,
        form=form,
        sha256=sha256(content),
        size=len(content),
        signature=str(signature),
    )


def _release(project: Wiring, reference: str) -> Release:
    """The release that somebody means."""
    found = project.registry.list()
    if not found:
        raise ConfigError("nothing was released yet", hint="casemate run")
    if not reference:
        return max(found, key=lambda one: one.created).release
    for one in found:
        if one.release.lineage.run == reference:
            return one.release
    return project.registry.get(reference).release


def _bill(project: Wiring, release: Release) -> tuple[Bill, str]:
    """The bill, and the digest that the model is signed by; empty: it is refused."""
    if release.bundle is None:
        return files.read(project.objects.get(release.files[files.NAME])), ""
    model = project.registry.verify(f"{release.model}@{release.model_version}")
    return files.read(model.files[files.NAME]), model.digest
