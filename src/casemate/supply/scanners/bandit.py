"""Code, by bandit (https://bandit.readthedocs.io): exit code 0 says nothing found, also where a
file was missing or could not be parsed, so its `errors` are read and every file is asked for.
"""

import re
from os.path import normpath
from pathlib import Path

import msgspec

from casemate.core.types.scan import Grade, ScanKind
from casemate.supply.scanners import rules
from casemate.supply.scanners.interface import MOST_WORDS, CouldNotLook, Hit, Looked, Place
from casemate.supply.scanners.process import parsed, run
from casemate.supply.scanners.source import Source, sources

AT_ONCE = 400
"""Files of one call: a command line has an end."""
PROBE, PROBED = "casemate-probe.py", "B102"
"""A file with a fault that is written for the scan alone, and the test that finds it: a program
that does not is no bandit.
"""
QUOTING = ("B105", "B106", "B107")
"""Tests whose words end in the password that was found, which would go wherever findings go."""
SEVERITIES: dict[str, Grade] = {"HIGH": "high", "MEDIUM": "medium", "LOW": "low"}


class _Cwe(msgspec.Struct):
    id: int | None = None


class _Result(msgspec.Struct):
    filename: str
    issue_severity: str
    issue_text: str
    line_number: int
    test_id: str
    issue_cwe: _Cwe | None = None
    more_info: str = ""


class _Error(msgspec.Struct):
    filename: str
    reason: str


class _Report(msgspec.Struct):
    """What `bandit -f json` prints."""

    errors: list[_Error]
    metrics: dict[str, dict[str, int]]
    results: list[_Result]


class Bandit:
    """Looks at Python files and notebooks."""

    id = "bandit"
    kind: ScanKind = "code"

    def look(self, place: Place) -> Looked:
        """See `Scanner.look`."""
        folder = place.folder("bandit")
        every = sources(place, folder)
        probe = folder / PROBE
        unseen, hits, version = dict(every.unseen), [], ""
        for start in range(0, len(every.found), AT_ONCE):
            batch = every.found[start : start + AT_ONCE]
            # bandit puts `./` before names that it prints
            some = {normpath(_name(one, place.root)): one for one in batch}
            probe.write_text('exec("1")\n', encoding="ascii")
            report = self._report(place, [str(probe), *(_name(one, place.root) for one in batch)])
            probed = [one for one in report.results if normpath(one.filename) == str(probe)]
            if [one.test_id for one in probed] != [PROBED]:
                raise CouldNotLook("bandit does not find a fault that was made for it")
            version = _version(probed[0].more_info)
            asked = {normpath(name) for name in report.metrics}
            for error in report.errors:
                source = some.get(normpath(error.filename))
                unseen[error.filename if source is None else source.path] = error.reason
            for name, source in some.items():
                if name not in asked and source.path not in unseen:
                    unseen[source.path] = "bandit says nothing of this file"
            for result in report.results:
                if result in probed:
                    continue
                source = some.get(normpath(result.filename))
                if source is None:
                    raise CouldNotLook(f"bandit looked at another file: {result.filename}")
                hits.append(_hit(result, source))
        return Looked(
            scanner=self.id,
            kind="code",
            version=version,
            hits=hits,
            count=len(every.found),
            unseen=unseen,
        )

    @staticmethod
    def _report(place: Place, names: list[str]) -> _Report:
        # `# nosec` would be a waiver without a name, a reason and an end
        ran = run(place, "bandit", ["-q", "-f", "json", "--ignore-nosec", *names])
        if ran.code not in (0, 1):
            raise CouldNotLook(f"bandit ended with exit code {ran.code}: {ran.errors[-200:]}")
        report = parsed("bandit", ran.output, _Report)
        if bool(report.results) != bool(ran.code):
            raise CouldNotLook(
                f"bandit ended with exit code {ran.code} and {len(report.results)} findings"
            )
        return report


def _name(source: Source, root: Path) -> str:
    """How bandit is told of a file, and names it: never like an option."""
    inside = source.file == root / source.path
    return f"./{source.path}" if inside else str(source.file)


def _version(link: str) -> str:
    found = re.search(r"/en/([0-9.]+)/", link)
    return found[1] if found else ""


def _hit(result: _Result, source: Source) -> Hit:
    rule = rules.of_bandit(result.test_id)
    severity = SEVERITIES.get(result.issue_severity)
    if severity is None:
        raise CouldNotLook(f"bandit knows a severity {result.issue_severity[:30]!r}")
    cell, line = source.where(result.line_number)
    text = result.issue_text
    if result.test_id in QUOTING:
        text = text.partition(":")[0]
    cwe = result.issue_cwe.id if result.issue_cwe is not None else None
    references = [*rules.references(rule), *([f"CWE-{cwe}"] if cwe else []), result.test_id]
    return Hit(
        rule=rule,
        severity=rules.severity(rule, severity),
        message=text[:MOST_WORDS],
        path=source.path,
        line=line,
        cell=cell,
        material=source.said(result.line_number),
        references=list(dict.fromkeys(references)),
        mend=rules.mend(rule),
    )
