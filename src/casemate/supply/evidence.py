"""Evidence beside the records: what the assessment drew, and the signature over all files."""

import importlib.util

import msgspec

from casemate.core.digest import sha256_file
from casemate.core.files import write_atomic
from casemate.core.run import Run
from casemate.core.types import Assessment, Release
from casemate.stages.release import evidence
from casemate.supply.context import RunContext


class Pictures:
    """What the assessment drew: evidence of its own, and shown by the card; drawn once a run."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] | None = None

    def __call__(self, record: Assessment) -> dict[str, bytes]:
        """File name -> image."""
        if self._files is None and importlib.util.find_spec("matplotlib") is None:
            self._files = {}  # without casemate[plots] the card has its tables alone
        if self._files is None:
            from casemate.stages.assess.plots import draw

            self._files = draw(record)
        return self._files


def sign_evidence(context: RunContext, work: Run, release: Release) -> None:
    """Sign the digests of every evidence file of the run."""
    subjects = {
        path.relative_to(work.folder).as_posix(): sha256_file(path)
        for path in sorted(work.folder.rglob("*"))
        if path.is_file() and path.name != evidence.EVIDENCE
    }
    said = evidence.Said(
        run=work.id,
        project=context.config.project.id,
        model=f"{release.model}@{release.model_version}",
        outcome=release.verdict.outcome,
    )
    write_atomic(
        work.folder / evidence.EVIDENCE,
        context.signer.sign_statement(subjects, evidence.PREDICATE, msgspec.to_builtins(said)),
    )
