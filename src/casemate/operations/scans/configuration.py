"""Configuration: casemate.toml, policies, keys, files and what was rendered from them. Checks of
controls are asked again, each as a finding of its own; what `casemate controls` does not know is
asked here.
"""

import ipaddress
import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import cedarpy
import msgspec

from casemate.config import FILE_NAME
from casemate.core.files import directly
from casemate.core.types.scan import Grade, ScanKind
from casemate.operations.controls.checks import CHECKS
from casemate.operations.controls.facts import Facts
from casemate.supply.scanners.artifactfile import python
from casemate.supply.scanners.interface import CouldNotLook, Hit, Looked, Place
from casemate.supply.scanners.process import run
from casemate.wiring import Wiring

ASKED: dict[str, Grade] = {
    "log.rows": "critical",
    "keys.private": "high",
    "sandbox.in-force": "high",
    "access.policies": "low",
    "keys.protected": "medium",
    "keys.rotated": "medium",
    "keys.certificates": "medium",
    "log.seen-outside": "medium",
    "release.approvals": "medium",
    "release.gates": "medium",
    "gateway.guards": "medium",
    "gateway.limits": "medium",
    "answers.kept": "medium",
    "access.owners": "medium",
    "access.factors": "medium",
    "access.stale": "low",
    "access.login": "low",
}
"""Checks of controls that are about how a project is set up -> how grave it is where one fails."""
STATE = ".casemate-deploy.json"
"""`deploy.state.FILE`, which lies above operations."""
MOST_FILE = 2**20


class Configuration:
    """Looks at how a project is set up."""

    id = "casemate-configuration"
    kind: ScanKind = "configuration"

    def __init__(self, project: Wiring) -> None:
        self.project = project

    def look(self, place: Place) -> Looked:
        """See `Scanner.look`."""
        facts = Facts(self.project)
        unseen: dict[str, str] = {}
        hits: list[Hit] = []
        for name, grade in ASKED.items():
            fact = CHECKS[name](facts)
            if fact.outcome == "failed":
                hits.append(_hit(name, grade, fact.said, CHECKS[name].mend, fact.said))
            elif fact.outcome == "inconclusive":
                unseen[name] = fact.said
        rules = [*_plain(self.project), *_weak(self.project), *_open(self.project)]
        policies = _policies(self.project.root / self.project.config.access.policies, unseen)
        return Looked(
            scanner=self.id,
            kind=self.kind,
            version="1",
            hits=[*hits, *rules, *policies],
            count=len(ASKED) + 1,
            unseen=unseen,
        )


class Rendered:
    """Asks `casemate deploy check` about every folder into which something was rendered."""

    id = "casemate-deploy"
    kind: ScanKind = "configuration"

    def __init__(self, state: str) -> None:
        self.state = state
        """Name of the file that marks such a folder."""

    def look(self, place: Place) -> Looked:
        """See `Scanner.look`."""
        hits, folders = [], 0
        for path in place.files:
            if Path(path).name != self.state:
                continue
            folders += 1
            folder = str(Path(path).parent)
            words = ["-P", "-m", "casemate", "deploy", "check", f"./{folder}", "--format", "json"]
            ran = run(place, "casemate", words, program=python(sys.executable))
            if ran.code not in (0, 1):
                raise CouldNotLook(f"casemate deploy check {folder}: {ran.errors[-200:]}")
            for one in msgspec.json.decode(ran.output):
                name = str(Path(folder) / one["file"])
                for danger in one["dangers"]:
                    hits.append(_hit("rendered-unsafe", "high", danger, "", danger, name))
                if one["how"] in ("stale", "missing", "foreign"):
                    text = f"what is rendered there is {one['how']}"
                    mend = f"casemate deploy {one['target']} {folder}"
                    hits.append(_hit("rendered-stale", "low", text, mend, one["how"], name))
        return Looked(scanner=self.id, kind=self.kind, version="1", hits=hits, count=folders)


def _hit(
    name: str, grade: Grade, text: str, mend: str, material: str, path: str = FILE_NAME
) -> Hit:
    # what a check says counts days and names; which check it is says enough of casemate.toml
    rest = material if path != FILE_NAME or name.startswith(("plain-", "policy-")) else ""
    return Hit(
        rule=f"configuration.{name}",
        severity=grade,
        message=text,
        path=path,
        material=rest,
        references=["CWE-1188", "OWASP-A05:2021"],
        mend=mend,
    )


def _plain(project: Wiring) -> Iterator[Hit]:
    """Places that are reached without TLS, and are not this machine."""
    config = project.config
    places: dict[str, str | None] = {
        "[keys] address": config.keys.address,
        "[keys] endpoint": config.keys.endpoint,
        "[store] endpoint": config.store.endpoint,
        "[serve] traces": str(config.serve.traces or ""),
    }
    places |= {f"[sinks.{name}] to": one.to for name, one in config.sinks.items()}
    places |= {f"[notices.{name}] to": one.to for name, one in config.notices.items()}
    places |= {f"[trackers.{name}] url": one.url for name, one in config.trackers.items()}
    places |= {
        f"[audit.witnesses.{name}] url": one.url for name, one in config.audit.witnesses.items()
    }
    for name, provider in config.access.providers.items():
        places[f"[access.providers.{name}] issuer"] = provider.issuer
    for name, workload in config.access.workloads.items():
        places[f"[access.workloads.{name}] issuer"] = workload.issuer
    for name, url in places.items():
        parts = urlsplit(url or "")
        if parts.scheme in ("http", "tcp", "udp", "syslog") and not _is_here(parts.hostname or ""):
            text = f"{name} goes to {parts.hostname} without TLS"
            yield _hit("plain-connection", "high", text, "https, with `ca`", name)
    store = urlsplit(config.store.url)
    modes = parse_qs(store.query).get("sslmode", [""])
    is_far = store.scheme.startswith("postgres") and not _is_here(store.hostname or "")
    if is_far and modes[-1] not in ("verify-full", "verify-ca"):
        text = "[store] url reaches a database whose certificate is not checked"
        mend = "?sslmode=verify-full&sslrootcert=FILE"
        yield _hit("plain-database", "high", text, mend, "[store] url")


def _is_here(host: str) -> bool:
    """Whether a host is this machine."""
    if host in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.endswith(".localhost")


def _weak(project: Wiring) -> Iterator[Hit]:
    """Options that are weaker than they are as shipped."""
    config = project.config
    serve = config.serve
    if serve.tls == "proxy" and not _is_here(serve.host):
        text = '[serve] tls = "proxy" on an address that others reach: tokens go in clear'
        yield _hit("serve-plain", "high", text, '[serve] host = "127.0.0.1"', "")
    if serve.audit != "durable":
        text = '[serve] audit = "batched": a crash loses records of answers that were given'
        yield _hit("serve-batched", "low", text, '[serve] audit = "durable"', "")
    off = [
        name
        for name in ("label_noise", "outliers", "triggers", "spectral")
        if not getattr(config.screen, name)
    ]
    if off:
        text = f"[screen] {', '.join(off)}: tables are not looked at for it"
        yield _hit("screen-off", "medium", text, "switch it on", "")
    if config.privacy.min_group < 5:
        text = f"[privacy] min_group = {config.privacy.min_group}: figures are of very few people"
        yield _hit("small-groups", "medium", text, "[privacy] min_group = 10", "")
    if config.keys.max_age_days > 400:
        text = f"[keys] max_age_days = {config.keys.max_age_days}: keys grow old unseen"
        yield _hit("keys-old", "medium", text, "[keys] max_age_days = 365", "")
    if config.scan.exclude and any(one in ("*", "**", "**/*") for one in config.scan.exclude):
        text = "[scan] exclude leaves everything out"
        yield _hit("scan-nothing", "high", text, "leave out what is not yours alone", "")


def _open(project: Wiring) -> Iterator[Hit]:
    """Files that others may change, and that decide what is trained and who may do what."""
    names = [FILE_NAME, project.config.train.entry.partition(":")[0], *project.config.train.files]
    for name in dict.fromkeys(names):
        path = project.root / name
        if path.is_file() and stat.S_IMODE(os.stat(path).st_mode) & stat.S_IWOTH:
            text = f"every user of this machine may change {name}"
            yield _hit("file-open", "high", text, f"chmod o-w {name}", "writable", name)


def _policies(folder: Path, unseen: dict[str, str]) -> list[Hit]:
    """Policies of the project that let everybody do everything, or anything without a condition."""
    found = []
    try:
        paths = directly(folder, ".cedar")
    except OSError as error:
        unseen[folder.name] = f"the folder cannot be read: {error.strerror}"
        return []
    for path in paths:
        name = f"{folder.name}/{path.name}"
        try:
            if path.stat().st_size > MOST_FILE:
                raise ValueError("it is too large")
            text = path.read_text(encoding="utf-8")
            read = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"] if text else {}
        except (OSError, ValueError, KeyError) as error:
            unseen[name] = f"it cannot be read: {error}"
            continue
        for policy in read.values():
            scopes = [policy[part]["op"] for part in ("principal", "action")]
            if policy["effect"] == "permit" and not policy["conditions"] and scopes[1] == "All":
                who = "everybody" if scopes[0] == "All" else "somebody"
                text = f"a policy permits {who} every action, without a condition"
                grade: Grade = "critical" if scopes[0] == "All" else "high"
                mend = "name the action and the role"
                found.append(_hit("policy-open", grade, text, mend, str(scopes), name))
    return found
