"""Which scanners look at what."""

from casemate.core.types.scan import ScanKind
from casemate.supply.scanners.bandit import Bandit
from casemate.supply.scanners.interface import Scanner
from casemate.wiring import Wiring


def scanners(project: Wiring, kind: ScanKind) -> list[Scanner]:
    """Those of one kind, as the project's configuration wants them."""
    return {"code": [Bandit()]}.get(kind, [])
