"""Results of checks as OSCAL assessment results, for other people's tools.

Form: https://pages.nist.gov/OSCAL-Reference/models/v1.1.3/assessment-results/json-reference/. Every
check is an observation with its fact as evidence; every control that has checks is a finding about
the objective of these checks. What no check covers is in the finding's remarks, and a control that
none covers is excluded by name, so that nobody takes it for reviewed. Identifiers follow from the
log's entry: the same results have the same ones.
"""

import re
import uuid

import msgspec

from casemate.stages.release.pack import (
    FACTS,
    CheckResult,
    ControlResult,
    FrameworkResult,
    Results,
)

OSCAL = "1.1.3"
SPACE = uuid.UUID("7b0c6f5e-3a55-4c6e-9d7a-2f1f7a1c9b60")
"""Namespace of the identifiers; drawn once."""
TOOL = "https://casemate.dev/ns/oscal"
"""Namespace of our properties."""


class _Part(msgspec.Struct, rename="kebab", omit_defaults=True, kw_only=True):
    """An object of OSCAL: names with hyphens, nothing that is empty."""


class Property(_Part):
    """A name and a value of ours."""

    name: str
    value: str
    ns: str = TOOL


class Metadata(_Part):
    """What the document is."""

    title: str
    last_modified: str
    version: str
    oscal_version: str = ""


class Link(_Part):
    """A reference to something else."""

    href: str


class ControlId(_Part):
    """A control, by its identifier."""

    control_id: str


class Selection(_Part):
    """Which controls were looked at, and which were not."""

    description: str
    include_controls: list[ControlId] = []
    exclude_controls: list[ControlId] = []


class Reviewed(_Part):
    """All selections."""

    control_selections: list[Selection]


class Evidence(_Part):
    """What an observation stands on."""

    href: str
    description: str
    props: list[Property] = []


class Observation(_Part):
    """What one check saw."""

    uuid: str
    title: str
    description: str
    props: list[Property]
    methods: list[str]
    relevant_evidence: list[Evidence]
    collected: str
    remarks: str = ""


class Status(_Part):
    """How a control's objective stands."""

    state: str
    reason: str


class Target(_Part):
    """What a finding is about."""

    type: str
    target_id: str
    status: Status


class Related(_Part):
    """An observation that a finding stands on."""

    observation_uuid: str


class Finding(_Part):
    """How one control stands."""

    uuid: str
    title: str
    description: str
    target: Target
    related_observations: list[Related]
    remarks: str = ""


class Result(_Part):
    """One time that everything was looked at."""

    uuid: str
    title: str
    description: str
    start: str
    end: str
    reviewed_controls: Reviewed
    observations: list[Observation]
    findings: list[Finding] = []


class Resource(_Part):
    """Something that the document refers to."""

    uuid: str
    title: str
    description: str


class BackMatter(_Part):
    """Everything that it refers to."""

    resources: list[Resource]


class AssessmentResults(_Part):
    """The document."""

    uuid: str
    metadata: Metadata
    import_ap: Link
    results: list[Result]
    back_matter: BackMatter


class Document(_Part):
    """The file."""

    assessment_results: AssessmentResults


def document(results: Results) -> bytes:
    """The results as OSCAL JSON.

    Args:
        results: of every check, with the catalogue.
    """
    stem = f"{results.project}/{results.entry}/{results.catalogue}"
    checks = {one.id: one for one in results.checks}
    pairs = [(one, control) for one in results.frameworks for control in one.controls]
    plan = _uuid(stem, "plan")
    everything = Result(
        uuid=_uuid(stem, "result"),
        title="Checks of the project's own facts",
        description=(
            "Each check reads the project as it stands and can fail. The log's entry"
            f" {results.entry} recorded the outcomes and the digest of every fact."
        ),
        start=results.time,
        end=results.time,
        reviewed_controls=Reviewed(control_selections=list(map(_selected, results.frameworks))),
        observations=[_observed(stem, one, results.time) for one in results.checks],
        findings=[
            found
            for framework, control in pairs
            if (found := _found(stem, framework, control, checks)) is not None
        ],
    )
    whole = AssessmentResults(
        uuid=_uuid(stem, "document"),
        metadata=Metadata(
            title=f"Controls of the project {results.project}",
            last_modified=results.time,
            version=str(results.entry),
            oscal_version=OSCAL,
        ),
        import_ap=Link(href=f"#{plan}"),
        results=[everything],
        back_matter=BackMatter(
            resources=[
                Resource(
                    uuid=plan,
                    title="The catalogue of controls",
                    description=(
                        "There is no assessment plan apart: which checks are done, and for which"
                        " controls, is the catalogue that ships with casemate, SHA-256"
                        f" {results.catalogue}."
                    ),
                )
            ]
        ),
    )
    encoded = msgspec.json.encode(Document(assessment_results=whole))
    return msgspec.json.format(encoded, indent=2) + b"\n"


def identifier(framework: str, section: str) -> str:
    """A control's identifier: an OSCAL token of the framework's and the section's letters and
    digits.
    """
    return f"{framework}_{re.sub(r'[^A-Za-z0-9.]+', '-', section).strip('-').lower()}"


def _uuid(*parts: str) -> str:
    return str(uuid.uuid5(SPACE, "\n".join(parts)))


def _selected(framework: FrameworkResult) -> Selection:
    def ids(*, covered: bool) -> list[ControlId]:
        return [
            ControlId(control_id=identifier(framework.id, one.section))
            for one in framework.controls
            if bool(one.checks) is covered
        ]

    return Selection(
        description=f"{framework.name}: {framework.version}; {framework.source}",
        include_controls=ids(covered=True),
        exclude_controls=ids(covered=False),
    )


def _observed(stem: str, check: CheckResult, time: str) -> Observation:
    passed = f"Last passed on {check.passed}." if check.passed else "It has never passed."
    return Observation(
        uuid=_uuid(stem, check.id),
        title=check.title,
        description=check.said,
        props=[
            Property(name="check", value=check.id),
            Property(name="outcome", value=check.outcome),
            Property(name="answers", value=check.answers),
        ],
        methods=["TEST"],
        relevant_evidence=[
            Evidence(
                href=f"../{FACTS}/{check.id}.json",
                description="What the check saw.",
                props=[Property(name="sha256", value=check.digest)],
            )
        ],
        collected=time,
        remarks=passed,
    )


def _found(
    stem: str, framework: FrameworkResult, control: ControlResult, checks: dict[str, CheckResult]
) -> Finding | None:
    """How a control stands; None where no check covers it, or there is nothing that they are
    about.
    """
    mine = [checks[name] for name in control.checks]
    outcomes = {one.outcome for one in mine} - {"not-applicable"}
    if not outcomes:
        return None
    holds = outcomes == {"passed"}
    reason = "pass" if holds else "fail" if "failed" in outcomes else "other"
    name = identifier(framework.id, control.section)
    said = "; ".join(f"{one.id}: {one.outcome}" for one in mine)
    return Finding(
        uuid=_uuid(stem, name),
        title=control.title or control.section,
        description=f"Of what the checks look at: {said}",
        target=Target(
            type="objective-id",
            target_id=f"{name}_checks",
            status=Status(state="satisfied" if holds else "not-satisfied", reason=reason),
        ),
        related_observations=[Related(observation_uuid=_uuid(stem, one.id)) for one in mine],
        remarks=f"Not covered: {control.outside}" if control.outside else "",
    )
