"""Secrets, by detect-secrets (https://github.com/Yelp/detect-secrets): outside git it scans
nothing and says `{}`, passes files over by their names, and lets a comment waive. It gets copies
under names of ours, says of each that it checked it, and must find a secret that was made for the
purpose.
"""

import base64
import os
import re

import msgspec

from casemate.core.types.scan import Grade, ScanKind
from casemate.supply.scanners.history import is_kept, versions
from casemate.supply.scanners.interface import CouldNotLook, Hit, Looked, Place
from casemate.supply.scanners.process import parsed, run
from casemate.supply.scanners.texts import AS_IT_IS, Texts, texts

AT_ONCE = 1000
"""Files of one call."""
PROBE = "probe.py"
"""A file with a secret of ours: who does not find it has not looked."""
RULE = "secrets.exposed"
OFF = (
    "detect_secrets.filters.allowlist.is_line_allowlisted",  # a waiver without a name and an end
    "detect_secrets.filters.heuristic.is_lock_file",
    "detect_secrets.filters.heuristic.is_swagger_file",
)
"""Filters that would pass over what nobody waived."""
RANKS = {"Secret Keyword": 1, "Base64 High Entropy String": 2, "Hex High Entropy String": 2}
"""Detectors that know least of what they found; any other knows a form."""
GRADES: dict[int, Grade] = {0: "high", 1: "medium", 2: "low"}
RANKED = list(GRADES.values())
DIGEST = re.compile(r"sha(1|224|256|384|512)|digest|fingerprint|md5|[\"']?integrity", re.IGNORECASE)
"""Lines whose hexadecimal text says that it is a digest."""
CHECKED = re.compile(r"Checking file: (.+)$")


class _Secret(msgspec.Struct):
    type: str
    hashed_secret: str
    line_number: int


class _Report(msgspec.Struct):
    """What `detect-secrets scan` prints."""

    version: str
    results: dict[str, list[_Secret]]
    plugins_used: list[dict[str, object]]


class DetectSecrets:
    """Looks at every text of the tree, and at every version of it that git keeps."""

    kind: ScanKind = "secrets"

    def __init__(self, *, history: bool) -> None:
        self.id = "detect-secrets-history" if history else "detect-secrets"
        self.history = history

    def look(self, place: Place) -> Looked:
        """See `Scanner.look`."""
        folder = place.folder(self.id)
        notes: list[str] = []
        unseen: dict[str, str] = {}
        if self.history:
            found = Texts(folder)
            if not is_kept(place.root):
                note = "no git repository: there is no history to look at"
                return Looked(scanner=self.id, kind=self.kind, notes=[note])
            versions(place, found)
        else:
            found = texts(place, folder)
        unseen |= found.unseen
        if found.binary:
            notes.append(f"{found.binary} files hold no text")
        hits, version = [], ""
        names = list(found.names)
        for start in range(0, max(1, len(names)), AT_ONCE):
            some = names[start : start + AT_ONCE]
            report, checked = _report(place, found, some)
            unseen |= {
                found.names[name]: "detect-secrets did not look at it"
                for name in some
                if name not in checked
            }
            hits += _hits(report, found, place, self.history)
            version = report.version
        # one copy of a file may tell more of a secret than another
        once: dict[tuple[str, str], Hit] = {}
        for hit in sorted(hits, key=lambda one: (RANKED.index(one.severity), one.line)):
            once.setdefault((hit.path, hit.material), hit)
        return Looked(
            scanner=self.id,
            kind=self.kind,
            version=version,
            hits=list(once.values()),
            count=found.count,
            unseen=unseen,
            notes=notes,
        )


def _report(place: Place, found: Texts, names: list[str]) -> tuple[_Report, set[str]]:
    """(what it says, names that it checked)."""
    # a key of no service, in the form of one, that is written for this scan alone
    made = "AKIA" + base64.b32encode(os.urandom(10)).decode()
    (found.folder / PROBE).write_text(f'key = "{made}"\n', encoding="ascii")
    off = [word for name in OFF for word in ("--disable-filter", name)]
    words = ["-v", "scan", "--all-files", "--no-verify", "--disable-plugin", "IPPublicDetector"]
    ran = run(place, "detect-secrets", [*words, *off, PROBE, *names], cwd=found.folder)
    if ran.code:
        raise CouldNotLook(f"detect-secrets ended with exit code {ran.code}: {ran.errors[-200:]}")
    report = parsed("detect-secrets", ran.output, _Report)
    if PROBE not in report.results:
        raise CouldNotLook("detect-secrets does not find a secret that was made for it")
    lines = (CHECKED.search(line) for line in ran.said().splitlines())
    return report, {line[1] for line in lines if line is not None}


def _hits(report: _Report, found: Texts, place: Place, history: bool) -> list[Hit]:
    hits = []
    for name, secrets in report.results.items():
        if name == PROBE:
            continue
        if name not in found.names:
            raise CouldNotLook(f"detect-secrets looked at another file: {name}")
        best: dict[str, _Secret] = {}
        for secret in sorted(secrets, key=lambda one: (RANKS.get(one.type, 0), one.line_number)):
            if RANKS.get(secret.type) == 2 and DIGEST.search(found.line(name, secret.line_number)):
                continue
            best.setdefault(secret.hashed_secret, secret)
        above = int(name.endswith(AS_IT_IS))
        hits += [_hit(one, found.names[name], place, history, above) for one in best.values()]
    return hits


def _hit(secret: _Secret, path: str, place: Place, history: bool, above: int) -> Hit:
    grade = GRADES[RANKS.get(secret.type, 0)]
    where = " in git's history" if history else ""
    return Hit(
        rule=RULE,
        severity=grade,
        message=f"{secret.type}{where}",
        path=path,
        line=0 if history else max(1, secret.line_number - above),
        material=place.veil(f"secret:{secret.hashed_secret}"),
        references=["CWE-798", "OWASP-A07:2021", "AML.T0055"],
        mend="replace it where it is valid: it is known; then keep it out of files (env:, file:)",
    )
