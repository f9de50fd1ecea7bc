"""What gives a sealed version its name: what decides which rows there are, and on which side each
lies.
"""

from casemate.core.digest import sha256, sha256_record
from casemate.core.types import FORMAT
from casemate.stages.data import files
from casemate.stages.data.examined import Examined
from casemate.stages.data.review import dropped
from casemate.stages.data.tools import DataTools


def identity_of(
    tools: DataTools, found: Examined, source_digest: str, *, rest: bool
) -> dict[str, str | int]:
    """By name, the digest of each thing that decides.

    Args:
        tools: the stage's, with the configuration as it was read.
        found: in the table.
        source_digest: of all bytes that it was read from.
        rest: whether rows beside the drawn ones are sealed too.
    """
    identity: dict[str, str | int] = {
        "format": FORMAT,
        "source": source_digest,
        "schema": sha256_record(found.schema),
        "read": sha256_record(files.unplaced(tools.config.data)),
        "excluded": int(found.excluded.sum()),
        "screen": sha256_record(found.suspects),
        "split": sha256_record(found.sides),
    }
    # Only where there is some: versions that were sealed before these existed keep their names.
    if found.basis is not None:
        identity["basis"] = sha256_record(found.basis)
    if found.erased:
        identity["erased"] = found.erased
    if found.restricted is not None:
        identity["restricted"] = sha256_record(found.restricted)
    if tools.lessons is not None:
        identity["feedback"] = tools.lessons.digest
    if rest:
        # what is left out of rows that were not drawn does not show in those that were
        gone = "" if tools.erased is None else tools.erased.digest
        mask = sha256((found.holdout | found.excluded).tobytes())
        out = dropped(tools.reviews)
        identity["rest"] = sha256_record([tools.config.train.rows, gone, mask, out])
    return identity
