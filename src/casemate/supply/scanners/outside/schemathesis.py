"""What a gateway does with requests that its OpenAPI document describes, and with others, by
schemathesis (https://schemathesis.readthedocs.io), as each role in
turn.

It ends well, and calls itself complete, where its time was over before most operations were tried
(4.32.5), and where its token was lost: so the operations are counted, the relay knows whether it
was let in, and it must find a fault that was made for it.
"""

import dataclasses
import time
from collections.abc import Sequence
from typing import Literal

import msgspec

from casemate.core.types.scan import Grade, ScanKind
from casemate.supply.scanners.endpoint.matrix import place_of
from casemate.supply.scanners.interface import CouldNotLook, Hit, Looked, Place
from casemate.supply.scanners.outside.described import Turns, document, narrowed, roles, values_of
from casemate.supply.scanners.outside.relay import PROBE, Relay
from casemate.supply.scanners.process import find, parsed, run
from casemate.supply.scanners.running import Target

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_schema_conformance", "negative_data_rejection", "unsupported_method",
    "ignored_auth",
)  # fmt: skip
EXAMPLES = 5
"""Of each operation and phase."""
LEAST_SECONDS = 10
"""Below that it starts and ends."""
SHARE = 0.7
"""Of the time that is left: somebody else may look too."""
GRADES: dict[str, Grade] = {"critical": "high", "high": "high", "medium": "medium", "low": "low"}
REFERENCES: dict[str, list[str]] = {
    "IgnoredAuth": ["CWE-287", "CWE-306", "OWASP-API2:2023"],
    "ServerError": ["CWE-755", "OWASP-API8:2023"],
    "AcceptedNegativeData": ["CWE-20"],
}
PROBED = {
    "get": {
        "operationId": "casemate-probe",
        "responses": {"200": {"description": "Done"}, "401": {"description": "No credentials"}},
    }
}


class _Failure(msgspec.Struct):
    type: str
    title: str
    severity: Literal["critical", "high", "medium", "low"]
    operations: list[str]


class _Operations(msgspec.Struct):
    selected: int
    tested: int
    errored: int
    skip_reasons: list[str]


class _Report(msgspec.Struct):
    """What `--report json` writes."""

    schemathesis_version: str
    stop_reason: str
    complete: bool
    exit_code: int
    operations: _Operations
    failures: list[_Failure]
    errors: list[msgspec.Raw]


class Schemathesis:
    """Looks at what a gateway describes."""

    id = "schemathesis"
    kind: ScanKind = "endpoint"

    def look(self, place: Place) -> Looked:
        """See `Scanner.look`."""
        target = place.running()
        if not target.scratch:
            note = "only a scratch copy is sent what schemathesis makes up"
            return Looked(scanner=self.id, kind=self.kind, notes=[note])
        find(place, "schemathesis")
        offered = document(target)
        groups = roles(target, offered)
        if not groups:
            raise CouldNotLook("nobody may ask for anything that the document describes")
        seconds = left(target) * SHARE
        if seconds < LEAST_SECONDS:
            raise CouldNotLook("the scan's time is over", hint="[scan.endpoint] seconds")
        values = values_of(target)
        relay = Relay(target, Turns(groups, values), always=False)
        described = narrowed(offered, sorted(frozenset().union(*groups)), values, PROBED)
        report = self._report(place, relay, described, seconds)
        unseen = _judged(report, relay)
        for those in groups.values():
            if not relay.groups[those[0].group] and "" not in unseen:
                unseen[those[0].group] = "it was never let in with these credentials"
        return Looked(
            scanner=self.id,
            kind=self.kind,
            version=report.schemathesis_version,
            hits=_hits(report.failures, failed=relay.failed),
            count=relay.statuses.total(),
            unseen=unseen,
        )

    @staticmethod
    def _report(place: Place, relay: Relay, described: bytes, seconds: float) -> _Report:
        folder = place.folder("schemathesis")
        (folder / "openapi.json").write_bytes(described)
        settings = folder / "schemathesis.toml"
        settings.write_text(f'headers = {{ Authorization = "Bearer {relay.word}" }}\n')
        settings.chmod(0o600)
        # its own `--max-time` is no bound: with it, it goes on until the time is over
        bounded = dataclasses.replace(place, seconds=min(place.seconds, seconds))
        with relay.open():
            words = [
                *("--config-file", str(settings), "run", str(folder / "openapi.json")),
                *("--url", relay.url, "--phases", "coverage,fuzzing", "--checks", ",".join(CHECKS)),
                *("--max-examples", str(EXAMPLES), "--workers", "1"),
                *("--seed", "1", "--generation-database", "none", "--request-timeout", "20"),
                *("--suppress-health-check", "all", "--report", "json"),
                *("--report-json-path", "report.json"),
            ]
            ran = run(bounded, "schemathesis", words, own_folder=True, port=relay.port)
        if ran.code not in (0, 1):
            raise CouldNotLook(f"schemathesis ended with exit code {ran.code}: {ran.errors[-200:]}")
        report = parsed("schemathesis", ran.file("report.json"), _Report)
        if report.exit_code != ran.code:
            raise CouldNotLook(
                f"schemathesis ended with exit code {ran.code} and reports {report.exit_code}"
            )
        return report


def _judged(report: _Report, relay: Relay) -> dict[str, str]:
    """Why something was not looked at, whatever it says of itself."""
    found = relay.why_not()
    probed = {
        path
        for one in report.failures
        if one.type == "ServerError"
        for path in (operation.partition(" ")[2] for operation in one.operations)
    }
    if PROBE not in probed:
        return {"": "it does not find a fault that was made for it"} | found
    done = report.operations
    if done.tested < done.selected or report.stop_reason != "completed" or not report.complete:
        found["operations"] = (
            f"{done.tested} of {done.selected} were tried: {', '.join(done.skip_reasons[:3])}"
        )
    if done.errored or report.errors:
        found["errors"] = f"{max(done.errored, len(report.errors))} operations could not be tried"
    return found


def _hits(failures: Sequence[_Failure], *, failed: bool) -> list[Hit]:
    """Its findings; `failed`: the gateway failed at all, which the relay knows."""
    return [
        Hit(
            rule=f"schemathesis.{one.type[:60]}",
            severity="critical" if one.type == "IgnoredAuth" else GRADES[one.severity],
            message=f"{one.title}: {operation}",
            path=place_of(operation.partition(" ")[2]),
            material=f"{one.type} {operation.partition(' ')[0]}",
            references=REFERENCES.get(one.type, []),
            mend="the gateway, or what its OpenAPI document says of this door",
        )
        for one in failures
        for operation in (one.operations if failed or one.type != "ServerError" else ())
        if operation.partition(" ")[2] != PROBE
    ]


def left(target: Target) -> float:
    """Seconds that are left of the scan."""
    meter = target.meter
    return meter.seconds - (time.monotonic() - meter.began)
