"""Which scanners look at what."""

from casemate.core.types.scan import ScanKind
from casemate.operations.scans.configuration import STATE, Configuration, Rendered
from casemate.operations.scans.trusted import kept_in, verifier_of
from casemate.supply.scanners.artifacts import Artifacts
from casemate.supply.scanners.bandit import Bandit
from casemate.supply.scanners.dependencies import Dependencies
from casemate.supply.scanners.endpoint.answers import Answers
from casemate.supply.scanners.endpoint.calls import Grpc
from casemate.supply.scanners.endpoint.certificates import Certificates
from casemate.supply.scanners.endpoint.matrix import Matrix
from casemate.supply.scanners.endpoint.protocol import Protocol
from casemate.supply.scanners.interface import Scanner
from casemate.supply.scanners.learning import Learning
from casemate.supply.scanners.licences import Licences
from casemate.supply.scanners.outside.schemathesis import Schemathesis
from casemate.supply.scanners.outside.wapiti import Wapiti
from casemate.supply.scanners.secrets import DetectSecrets
from casemate.wiring import Wiring


def scanners(project: Wiring, kind: ScanKind) -> list[Scanner]:
    """Those of one kind, as the project's configuration wants them."""
    if kind == "code":
        return [Bandit(), Learning()]
    if kind == "secrets":
        both = (False, True) if project.config.scan.history else (False,)
        return [DetectSecrets(history=history) for history in both]
    if kind == "dependencies":
        allowed = project.config.scan.licences
        return [_dependencies(project), *([Licences(allowed)] if allowed else [])]
    if kind == "artifacts":
        return [Artifacts()]
    if kind == "endpoint":
        from casemate.supply.scanners.endpoint.abuse import ModelAbuse  # takes a second

        others: dict[str, Scanner] = {"schemathesis": Schemathesis(), "wapiti": Wapiti()}
        named = [others[name] for name in project.config.scan.endpoint.tools]
        serve = project.config.serve
        shown: list[Scanner] = [Certificates()] if serve.client_certificates == "require" else []
        called: list[Scanner] = [Grpc()] if serve.grpc_port is not None else []
        return [Matrix(), Answers(), Protocol(), *shown, *called, ModelAbuse(), *named]
    return [Configuration(project), Rendered(STATE)]


def _dependencies(project: Wiring) -> Scanner:
    table = project.config.scan
    snapshot = kept_in(project)
    days = table.advisories_within_days
    return Dependencies(snapshot, verifier_of(project), project.clock.now(), days)
