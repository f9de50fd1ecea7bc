"""`casemate evidence`: a folder that whoever has the public keys verifies without the project.

Nothing of the people in the data is in it: counts, digests, names of models and columns of figures.
Of a model there are its signature, card and bill of materials, not the model: some kinds hold rows.
"""

import contextlib
from pathlib import Path

from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, Error, RefusedError
from casemate.core.files import whole_folder
from casemate.core.types import Record
from casemate.operations.acting import operation
from casemate.operations.controls import catalogue, oscal, report
from casemate.operations.controls.checks import CHECKS
from casemate.operations.controls.facts import Facts
from casemate.operations.controls.history import folded
from casemate.operations.controls.kinds import Fact
from casemate.operations.controls.verbs import done
from casemate.stages.release import bundle, card
from casemate.stages.release import pack as packs
from casemate.stages.release.evidence import EVIDENCE
from casemate.stages.release.pack import (
    CheckResult,
    Results,
)
from casemate.stages.release.registry import Registered
from casemate.wiring import Wiring

OF_MODELS = (card.NAME, card.PAGE, packs.BILL)
"""Files of a model that are in a pack."""


class Packed(Record, frozen=True, kw_only=True):
    """What a new pack holds."""

    files: int
    models: list[str]
    passed: int
    failed: int
    inconclusive: int
    not_applicable: int
    entry: int
    """The log's entry with the results."""


@operation("evidence:write")
def pack(project: Wiring, folder: Path) -> Packed:
    """Look at everything now, and write what came of it with its proofs to a new folder.

    Args:
        project: whose.
        folder: what does not exist yet, or is empty.

    Raises:
        AccessDenied: policy. ConfigError: the folder has something in it. RefusedError: the log
            does not hold, so nothing can be proven.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists already", hint="name a new folder")
    acting = pack.ask(project, unrecorded=True)
    checked = done(acting, list(CHECKS))
    if checked.entry is None:
        raise RefusedError(
            "the audit log does not hold, so nothing can be proven by it", hint="casemate fsck"
        )
    results = _results(project, checked.facts, checked.entry)
    models = _of_models(project)
    files = {f"{packs.FACTS}/{one.check}.json": one.to_json() for one in checked.facts}
    for own in models.values():
        files |= own
    names = list(models)
    files[packs.RESULTS] = results.to_json()
    files[packs.OSCAL] = oscal.document(results)
    files[packs.INDEX] = report.written(results, names, project.signer.verifier.fingerprint)
    files |= _proofs(project, results)
    said = {"project": results.project, "time": results.time, "entry": results.entry}
    digests = {name: sha256(content) for name, content in files.items()}
    files[packs.PACK] = project.signer.sign_statement(digests, packs.PREDICATE, said)
    with whole_folder(folder.absolute(), 0o755) as draft:
        draft.chmod(0o755)
        for name, content in files.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_bytes(content)
    about = f'Project::"{project.config.project.id}"'
    acting.record("evidence:written", about, sha256=sha256(files[packs.PACK]), files=len(files))
    return Packed(
        files=len(files),
        models=names,
        passed=results.count("passed"),
        failed=results.count("failed"),
        inconclusive=results.count("inconclusive"),
        not_applicable=results.count("not-applicable"),
        entry=checked.entry,
    )


def _results(project: Wiring, facts: list[Fact], entry: int) -> Results:
    size = project.log.check().checkpoint.size
    past = folded(one for one in project.log.plain_entries() if one.index < size)
    return Results(
        project=project.config.project.id,
        time=past[facts[0].check].time,
        entry=entry,
        catalogue=catalogue.digest(),
        checks=[
            CheckResult(
                id=one.check,
                title=CHECKS[one.check].title,
                answers=CHECKS[one.check].answers,
                outcome=one.outcome,
                said=one.said,
                digest=one.digest,
                passed=past[one.check].passed,
                passed_entry=past[one.check].passed_entry,
            )
            for one in facts
        ],
        frameworks=catalogue.listed(),
    )


def _of_models(project: Wiring) -> dict[str, dict[str, bytes]]:
    """By the reference of each model in service, its files. What is damaged is left out: that it is
    not as it was signed is what `models.signed` says.
    """
    found: dict[str, dict[str, bytes]] = {}
    with contextlib.suppress(Error):  # a version that is pinned and gone: `models.signed` says so
        for model in Facts(project).serving:
            with contextlib.suppress(Error, OSError):
                project.registry.verify(model.reference)
                found[model.reference] = _of_model(project, model)
    return found


def _of_model(project: Wiring, model: Registered) -> dict[str, bytes]:
    place, release = f"{packs.MODELS}/{model.reference}", model.release
    signature = project.objects.get(str(release.bundle))
    files = {
        f"{place}/{bundle.MODEL_FOLDER}/{name}": project.objects.get(release.files[name])
        for name in OF_MODELS
    }
    files[f"{place}/{bundle.BUNDLE}"] = signature
    run = project.state / "runs" / release.lineage.run
    files[f"{place}/{EVIDENCE}"] = (run / EVIDENCE).read_bytes()
    if proof := project.registry.prove(bundle.payload_digest(signature)):
        files[f"{place}/{bundle.PROOF}"] = proof
    return files


def _proofs(project: Wiring, results: Results) -> dict[str, bytes]:
    """The log's head, and its proofs of every entry that results come from."""
    passed = {one.passed_entry for one in results.checks if one.passed_entry is not None}
    head, proofs = project.log.proofs(sorted({results.entry, *passed}))
    found = {f"{packs.LOG}/{index}{packs.PROOF}": proof for index, proof in proofs.items()}
    return found | {packs.CHECKPOINT: head}
