"""The bill of materials that is signed with a model: CycloneDX 1.6 with a model card, and the
environment's digest. What it is written in for others is made of it; see `release/bom`.
"""

from functools import cache

from casemate.config import Config
from casemate.core import installed
from casemate.core.digest import sha256_record
from casemate.core.types import Assessment, Lineage, SealedDataset, TrainedModel, Verdict
from casemate.core.types.scan import ScanStanding
from casemate.stages.release.bom import cyclonedx, told


@cache
def environment() -> dict[str, str]:
    """Version by name of every installed distribution; see `core.installed.versions`."""
    return installed.versions(installed.distributions())


def environment_digest() -> str:
    """SHA-256 over the installed distributions."""
    return sha256_record(environment())


def build(
    name: str,
    version: int,
    lineage: Lineage,
    dataset: SealedDataset,
    model: TrainedModel,
    assessment: Assessment,
    verdict: Verdict,
    config: Config,
    scan: ScanStanding | None = None,
) -> bytes:
    """The ML-BOM as JSON; see `told.bill`."""
    return cyclonedx.written(
        told.bill(name, version, lineage, dataset, model, assessment, verdict, config, scan)
    )
