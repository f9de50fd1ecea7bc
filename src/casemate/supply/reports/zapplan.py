"""A plan for ZAP's automation framework
(https://www.zaproxy.org/docs/automate/automation-framework/) that looks at a gateway of ours.

It holds no secret, and no reference to one: ZAP itself sends what the environment variable
`ZAP_AUTH_HEADER_VALUE` holds as a header, to the sites that `ZAP_AUTH_HEADER_SITE` names. Its
`replacer` job, by which many plans do that, sends `${NAME}` as it is written.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from casemate.core.errors import ConfigError
from casemate.core.http import is_address, is_private
from casemate.core.types import Record

SAID = """\
# A plan for ZAP's automation framework: zap.sh -cmd -autorun FILE
# It attacks what it names: a service that you may attack, never the one that people use.
# ZAP_AUTH_HEADER_VALUE is what is sent as Authorization, ZAP_AUTH_HEADER_SITE to whom alone.
"""
_ADDRESS = re.compile(
    r"https?://[A-Za-z0-9.\-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?"
)
_FOLDER = re.compile(r"[A-Za-z0-9._/\-]{1,300}")
CONTEXT = "casemate"
ENDS = r"/access/session/(end|renew)"
"""Doors that would end the login by which ZAP looks, and with it all that it sees."""
OFF = {
    40026: "Cross Site Scripting (DOM Based)",  # wants a browser, and the gateway serves no page
    10104: "User Agent Fuzzer",  # tells nothing that is a weakness
}
DOCUMENT = "/openapi.json"


class Bounds(Record, frozen=True, kw_only=True):
    """How much ZAP may do."""

    minutes: int = 15
    """For the active scan, and again for all the rest."""
    rate: int = 20
    """Requests a second."""
    active: bool = True
    """Attack; else only look at what is answered to the OpenAPI document's own requests."""


def origin_of(target: str) -> str:
    """The address that is looked at.

    Args:
        target: `https://HOST[:PORT]`, or http to this machine.

    Raises:
        ConfigError: it is something else, or what is sent there could be read on the way.
    """
    origin = target.rstrip("/")
    if not (_ADDRESS.fullmatch(origin) and is_address(origin)):
        raise ConfigError(
            f"{target[:80]!r} is no gateway's address", hint="such as https://gateway.example.org"
        )
    if not is_private(origin):
        raise ConfigError(
            f"{origin} is in the clear", hint="https; http is allowed to this machine only"
        )
    return origin


def rendered(title: str, target: str, report: str, folder: str, bounds: Bounds) -> bytes:
    """The plan as YAML: the same from the same, byte for byte.

    Args:
        title: of the report.
        target: what is looked at; see `origin_of`.
        report: name of the report's file.
        folder: where ZAP writes it, as ZAP sees it; its container has `/zap/wrk`.
        bounds: how much it may do.

    Raises:
        ConfigError: an address, name or folder that cannot stand in a plan.
    """
    origin = origin_of(target)
    for name in (report, folder):
        if not _FOLDER.fullmatch(name):
            raise ConfigError(
                f"{name[:80]!r} cannot stand in a plan", hint="letters, digits, . _ - /"
            )
    # ZAP puts variables of its environment in place of `${NAME}`, secrets too
    shown = title.replace("$", "")
    document = {"env": _environment(origin), "jobs": _jobs(shown, origin, report, folder, bounds)}
    text = yaml.safe_dump(document, sort_keys=False, width=200, allow_unicode=True)
    return (SAID + "---\n" + text).encode()


def host_of(target: str) -> str:
    """To whom alone credentials are sent."""
    return urlsplit(target).netloc


def properties(certificate: Path) -> bytes:
    """What ZAP must know of a client certificate (`zap.sh -configfile`); its password is added by
    whoever runs ZAP, as `certificate.pkcs12.password`.

    Args:
        certificate: the PKCS #12 file, as ZAP sees it.

    Raises:
        ConfigError: a name that cannot stand in such a file.
    """
    name = str(certificate)
    if not _FOLDER.fullmatch(name):
        raise ConfigError(f"{name[:80]!r} cannot stand in a plan", hint="letters, digits, . _ - /")
    lines = ("use=true", f"pkcs12.path={name}", "pkcs12.index=0", "persist=false")
    return "".join(f"certificate.{line}\n" for line in lines).encode()


def _environment(origin: str) -> dict[str, Any]:
    whole = re.escape(origin)
    return {
        "contexts": [
            {
                "name": CONTEXT,
                "urls": [origin],
                "includePaths": [f"{whole}/.*"],
                "excludePaths": [f"{whole}{ENDS}.*"],
            }
        ],
        "parameters": {
            "failOnError": True,
            "failOnWarning": False,
            "continueOnFailure": False,
            "progressToStdout": True,
        },
    }


def _jobs(
    title: str, origin: str, report: str, folder: str, bounds: Bounds
) -> list[dict[str, Any]]:
    passive = {"maxAlertsPerRule": 0, "scanOnlyInScope": True, "enableTags": False}
    jobs: list[dict[str, Any]] = [
        {"type": "passiveScan-config", "parameters": passive},
        {
            # says so, with an exit code of its own, where nobody is let in
            "type": "requestor",
            "requests": [{"url": f"{origin}/v2", "method": "GET", "responseCode": 200}],
        },
        {
            "type": "openapi",
            "parameters": {
                "apiUrl": f"{origin}{DOCUMENT}",
                "targetUrl": origin,
                "context": CONTEXT,
            },
            "tests": [
                {
                    "name": "the OpenAPI document was imported",
                    "type": "stats",
                    "statistic": "openapi.urls.added",
                    "operator": ">",
                    "value": 0,
                    "onFail": "error",
                }
            ],
        },
        _wait(bounds),
    ]
    if bounds.active:
        jobs += [_attack(bounds), _wait(bounds)]
    jobs.append(
        {
            "type": "report",
            "parameters": {
                "template": "traditional-json",
                "reportDir": folder,
                "reportFile": report,
                "reportTitle": title,
                "displayReport": False,
            },
            "risks": ["high", "medium", "low", "info"],
            # what somebody marked as false over there has no waiver here
            "confidences": ["high", "medium", "low", "falsepositive"],
        }
    )
    return jobs


def _wait(bounds: Bounds) -> dict[str, Any]:
    return {"type": "passiveScan-wait", "parameters": {"maxDuration": bounds.minutes}}


def _attack(bounds: Bounds) -> dict[str, Any]:
    return {
        "type": "activeScan",
        "parameters": {
            "context": CONTEXT,
            "maxRuleDurationInMins": max(1, bounds.minutes // 5),
            "maxScanDurationInMins": bounds.minutes,
            "maxAlertsPerRule": 0,
            "addQueryParam": False,
            "delayInMs": max(1, 1000 // bounds.rate),
            "threadPerHost": 1,
            "handleAntiCSRFTokens": False,
            "injectPluginIdInHeader": False,
            "scanHeadersAllRequests": False,
        },
        "policyDefinition": {
            "defaultStrength": "Medium",
            "defaultThreshold": "Medium",
            "rules": [
                {"id": number, "name": name, "threshold": "Off"} for number, name in OFF.items()
            ],
        },
        "tests": [
            {
                "name": "the scan was not cut off by its time",
                "type": "stats",
                "statistic": "stats.ascan.stopped",
                "operator": "==",
                "value": 0,
                "onFail": "warn",
            }
        ],
    }
