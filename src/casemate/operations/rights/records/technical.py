"""Technical documentation of a high-risk AI system (Regulation (EU) 2024/1689, Annex IV), point by
point.
"""

from casemate import __version__
from casemate.core import figures
from casemate.operations.rights.records import stated
from casemate.operations.rights.records.document import PROVIDER, Known, Point
from casemate.operations.rights.records.facts import Facts
from casemate.operations.rights.records.stated import point

LAW = "Regulation (EU) 2024/1689 (AI Act), Art. 11(1) and Annex IV"
STATE = (
    "as published on 12 July 2024; for high-risk systems of Annex III from 2 December 2027, of"
    " Annex I from 2 August 2028, as adopted in June 2026 (publication not confirmed)"
)
NAME = "annex-iv"
MATERIALS = "mlbom.cdx.json"
"""The bill of materials among a model's files."""


def documentation(facts: Facts) -> list[Point]:
    """Annex IV, 1 to 9."""
    return [*_general(facts), *_development(facts), *_operation(facts), *_rest(facts)]


def _point(facts: Facts, number: str, title: str, known: list[Known], missing: str = "") -> Point:
    return point(facts, NAME, number, title, known, missing, PROVIDER)


def _general(facts: Facts) -> list[Point]:
    known, missing = stated.purpose(facts)
    provider, no_provider = stated.words(facts, "name", "name of the provider")
    return [
        _point(
            facts,
            "1(a)",
            "Intended purpose, provider, version",
            known + provider + _version(facts),
            "; ".join(text for text in (missing, no_provider) if text),
        ),
        _point(
            facts,
            "1(b)",
            "Interaction with other hardware or software",
            _served(facts),
            "systems around the model that ask it or act on its answers",
        ),
        _point(facts, "1(c)", "Versions of software, and updates", _software(facts)),
        _point(
            facts,
            "1(d)",
            "Forms in which it is placed on the market",
            facts.counted("model:export", "exports of models"),
            "package, download or interface, as it is offered to others",
        ),
        _point(
            facts, "1(e)", "Hardware that it is to run on", [], "the hardware of those who run it"
        ),
        _point(
            facts,
            "1(f)",
            "Pictures of a product that it is part of",
            [],
            "pictures, or that it is part of no product",
        ),
        _point(facts, "1(g)", "User interface of the deployer", [], "what deployers see"),
        _point(
            facts,
            "1(h)",
            "Instructions for use",
            _card(facts),
            "instructions for the deployer (Art. 13(3)); the model card is a part of them",
        ),
    ]


def _development(facts: Facts) -> list[Point]:
    private, unmeasured = facts.groups([figures.PRIVATE])
    robust, not_robust = facts.groups([figures.ROBUST])
    good, not_good = facts.groups([figures.GOOD, figures.SURE])
    whom, not_whom = facts.groups([figures.WHOM])
    return [
        _point(
            facts,
            "2(a)",
            "Methods and steps of development, and what came from others",
            _steps(facts),
            "" if facts.trained else "how the model was made: there is no run",
        ),
        _point(
            facts,
            "2(b)",
            "Design: logic, key choices, what is optimised, trade-offs",
            _design(facts),
            "assumptions about the people concerned, and the reasons for the choices",
        ),
        _point(facts, "2(c)", "Architecture and computing resources", _architecture(facts)),
        _point(
            facts,
            "2(d)",
            "Data: provenance, scope, selection, labels, cleaning",
            stated.data(facts) + _cleaning(facts),
            "how the data was obtained and selected, and how labels were given (data sheet)",
        ),
        _point(
            facts,
            "2(e)",
            "Human oversight (Art. 14)",
            _oversight(facts),
            "what people do with answers, and how they can overrule them",
        ),
        _point(
            facts,
            "2(f)",
            "Changes that are foreseen",
            _retraining(facts),
            "changes that are foreseen, and how the system stays as assessed",
        ),
        point(
            facts,
            NAME,
            "2(g)",
            "Validation and testing: data, metrics, robustness, discriminatory effects",
            [*good, *whom, *robust, *_signed(facts)],
            unmeasured=[*not_good, *not_whom, *not_robust],
        ),
        point(
            facts,
            NAME,
            "2(h)",
            "Cybersecurity",
            [*stated.measures(facts), *private],
            unmeasured=unmeasured,
        ),
    ]


def _operation(facts: Facts) -> list[Point]:
    good, missing = facts.groups([figures.GOOD])
    whom, not_whom = facts.groups([figures.WHOM])
    features = [] if facts.dataset is None else facts.dataset.schema.features
    inputs = [
        facts.measured(
            "data", f"inputs: {', '.join(f'{one.name} ({one.type})' for one in features)}"
        )
    ] * bool(features)
    return [
        point(
            facts,
            NAME,
            "3",
            "Functioning and control: capabilities, limits, accuracy for groups, inputs",
            [*good, *whom, *inputs, *stated.handled(facts)],
            "outcomes that are not intended and risks to health, safety and rights; what deployers"
            " must watch",
            PROVIDER,
            [*missing, *not_whom],
        ),
        _point(
            facts,
            "4",
            "Why the metrics fit the system",
            _metric(facts),
            "why these figures and limits fit the purpose",
        ),
        _point(
            facts,
            "5",
            "Risk management (Art. 9)",
            _gates(facts),
            "the risk management system: risks that were identified, and what was decided of each",
        ),
    ]


def _rest(facts: Facts) -> list[Point]:
    return [
        _point(facts, "6", "Changes through the lifecycle", _lifecycle(facts)),
        _point(
            facts,
            "7",
            "Harmonised standards that were applied, or what was done instead",
            [],
            "standards of the Official Journal, or the means chosen in their place",
        ),
        _point(
            facts, "8", "EU declaration of conformity (Art. 47)", [], "a copy of the declaration"
        ),
        _point(
            facts,
            "9",
            "Post-market monitoring (Art. 72)",
            _monitoring(facts),
            "the plan (Art. 72(3)) and how experience of deployers is collected",
        ),
    ]


def _version(facts: Facts) -> list[Known]:
    if facts.model is None:
        return []
    release, found = facts.model.release, facts.model
    text = f"{found.reference}, {release.verdict.outcome}, created {found.created[:10]}"
    known = [facts.measured("release", text)]
    if facts.assessment is not None and facts.assessment.previous:
        text = f"compared with the earlier version {facts.assessment.previous}"
        known.append(facts.measured("assess", text))
    return known


def _served(facts: Facts) -> list[Known]:
    serve = facts.config.serve
    text = f"asked over HTTP and gRPC (Open Inference Protocol), port {serve.port}"
    known = [facts.said("[serve]", text)]
    for one in facts.project.rollouts.all():
        known.append(
            Known(text=f"served as {one.part}: {one.reference}", source="catalogue, rollouts")
        )
    return known


def _software(facts: Facts) -> list[Known]:
    known = [Known(text=f"casemate {__version__} wrote this record", source="this installation")]
    if facts.model is None:
        return known
    lineage = facts.model.release.lineage
    known.append(
        facts.measured("release", f"environment of training SHA-256 {lineage.environment_digest}")
    )
    if digest := facts.model.release.files.get(MATERIALS):
        text = f"every package by name and version is in {MATERIALS}, SHA-256 {digest}"
        known.append(facts.measured("release", text))
    return known


def _card(facts: Facts) -> list[Known]:
    if facts.model is None:
        return []
    digest = facts.model.release.files.get("model-card.md", "")
    return [facts.measured("release", f"model card, SHA-256 {digest}")] if digest else []


def _steps(facts: Facts) -> list[Known]:
    trained = facts.trained
    if trained is None or facts.model is None:
        return []
    lineage = facts.model.release.lineage
    return [
        facts.measured("train", f"trained by code with SHA-256 {trained.code_digest}"),
        facts.measured(
            "train", f"candidates of the search: {len(trained.cv)}, chosen by {trained.metric}"
        ),
        facts.measured("release", f"configuration SHA-256 {lineage.config_digest}"),
        facts.measured("train", f"mode of training: {trained.mode}"),
    ]


def _design(facts: Facts) -> list[Known]:
    trained = facts.trained
    if trained is None:
        return []
    known = [facts.measured("train", f"estimator: {trained.estimator[:500]}")]
    known.append(facts.measured("train", f"chosen parameters: {trained.params}"[:1000]))
    if facts.assessment is not None and facts.assessment.tradeoff:
        known.append(
            facts.measured("assess", f"trade-off of hardening: {facts.assessment.tradeoff}"[:1000])
        )
    return known


def _architecture(facts: Facts) -> list[Known]:
    if facts.model is None or facts.assessment is None:
        return []
    release = facts.model.release
    known = [facts.measured("assess", f"served as {facts.assessment.serve_format}")]
    known += [
        facts.measured("release", f"file {name}, SHA-256 {digest}")
        for name, digest in sorted(release.files.items())
    ]
    return [*known, *_seconds(facts, release.lineage.run)]


def _seconds(facts: Facts, run: str) -> list[Known]:
    found = next((one for one in facts.project.engine.runs() if one.id == run), None)
    steps = {} if found is None else found.steps
    return [
        Known(text=f"stage {name} took {seconds:.1f} s", source=f"catalogue, run {run}")
        for name, seconds in steps.items()
    ]


def _cleaning(facts: Facts) -> list[Known]:
    found = facts.dataset
    if found is None:
        return []
    known = [facts.measured("data", f"source SHA-256 {found.source_digest}")]
    if found.quarantined:
        told = ", ".join(f"{count} by {name}" for name, count in sorted(found.quarantined.items()))
        known.append(facts.measured("data", f"rows under suspicion: {told}"))
    known += [
        facts.measured("data", f"rule {one.name}: broken by {one.broken} of {one.rows} rows")
        for one in found.rules
    ]
    data, _ = facts.groups([figures.DATA])
    return known + data


def _oversight(facts: Facts) -> list[Known]:
    release = facts.config.release
    text = f"people who must approve before a model is served: {release.approvals}"
    known = [facts.said("[release] approvals", text)]
    known += facts.counted("model:approve", "approvals")
    known += facts.counted("model:promote", "promotions")
    guard = facts.config.serve.guard
    text = f"rows unlike the training data: outside limits {guard.outside}, unknown {guard.unknown}"
    known.append(facts.said("[serve.guard]", f"{text}, unusual {guard.unusual}"))
    return known


def _retraining(facts: Facts) -> list[Known]:
    figure = facts.config.retraining_figure
    text = f"a retrained model is compared with the incumbent in {figure}"
    return [facts.said("[retrain]", text)]


def _signed(facts: Facts) -> list[Known]:
    if not facts.signed:
        return []
    return [Known(text=f"signed: {facts.signed}", source=facts.evidence("release"))]


def _metric(facts: Facts) -> list[Known]:
    if facts.trained is None:
        return []
    return [
        facts.measured("train", f"candidates were chosen by {facts.trained.metric}"),
        *_gates(facts),
    ]


def _gates(facts: Facts) -> list[Known]:
    if facts.model is None:
        return []
    verdict = facts.model.release.verdict
    return [
        facts.measured("release", f"gate {one.gate}: required {one.limit}, {one.outcome}")
        for one in verdict.gates
    ]


def _lifecycle(facts: Facts) -> list[Known]:
    name = facts.config.project.name
    return [
        Known(
            text=f"{one.reference}, {one.created[:10]}: {one.release.verdict.outcome}, data"
            f" {one.release.lineage.dataset}@{one.release.lineage.dataset_version}",
            source=f"registry, run {one.release.lineage.run}",
        )
        for one in facts.project.registry.list()
        if one.release.model == name
    ]


def _monitoring(facts: Facts) -> list[Known]:
    laws = ", ".join(facts.config.incidents.laws) or "none"
    text = f"laws whose clocks run for incidents: {laws}"
    return [facts.said("[incidents] laws", text), *stated.handled(facts)]
