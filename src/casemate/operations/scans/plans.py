"""`casemate scan plan`: what ZAP is told to look at, so that its report can be imported."""

from pathlib import Path

from casemate.core.errors import ConfigError
from casemate.core.files import write_atomic
from casemate.core.types import Record
from casemate.operations.acting import reading
from casemate.supply.reports import zapplan
from casemate.supply.reports.zapplan import Bounds
from casemate.wiring import Wiring


class Planned(Record, frozen=True, kw_only=True):
    """A plan for ZAP, and what is to be done with it."""

    file: str
    target: str
    report: str
    """What ZAP writes, and `casemate scan import` takes."""
    variables: dict[str, str]
    """What ZAP's environment must hold: name -> what it is."""
    properties: str = ""
    """File with what ZAP must know of a client certificate; empty: there is none."""


@reading("scan:read")
def plan(
    project: Wiring,
    file: Path,
    target: str,
    *,
    minutes: int = 15,
    rate: int = 20,
    active: bool = True,
    folder: str = "/zap/wrk",
    certificate: Path | None = None,
) -> Planned:
    """Write a plan for ZAP's automation framework that looks at a gateway: by its OpenAPI document,
    as whoever `ZAP_AUTH_HEADER_VALUE` or a client certificate says, within bounds, with a report
    that `casemate scan import` takes. Neither holds a secret.

    Args:
        project: who asks.
        file: to write.
        target: the gateway's address.
        minutes: that the active scan may take.
        rate: requests a second at most.
        active: attack; else send what the OpenAPI document describes alone.
        folder: where ZAP writes its report, as ZAP sees it.
        certificate: a PKCS #12 file for mutual TLS; `FILE.properties` appears beside the plan.

    Raises:
        AccessDenied: policy. ConfigError: an address or name that cannot stand in a plan, bounds
            that are none.
    """
    if not (1 <= minutes <= 600 and 1 <= rate <= 1000):
        raise ConfigError(
            f"{minutes} minutes and {rate} requests a second are no bounds",
            hint="1 to 600 minutes, 1 to 1000 requests a second",
        )
    report = f"{file.stem}.json"
    bounds = Bounds(minutes=minutes, rate=rate, active=active)
    name = f"casemate: {project.config.project.name}"
    content = zapplan.rendered(name, target, report, folder, bounds)
    origin = zapplan.origin_of(target)
    properties = b"" if certificate is None else zapplan.properties(certificate)
    write_atomic(file, content, 0o644)
    beside = file.with_suffix(".properties")
    if properties:
        write_atomic(beside, properties, 0o600)
    return Planned(
        file=str(file),
        target=origin,
        report=report,
        variables={
            "ZAP_AUTH_HEADER_VALUE": "Bearer TOKEN, of the role that is to look",
            "ZAP_AUTH_HEADER_SITE": zapplan.host_of(origin),
        },
        properties=str(beside) if properties else "",
    )
