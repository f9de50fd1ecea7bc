"""What several records say: who is answerable, what is processed, what keeps it safe."""

from casemate.controls.privacy.budget import totals
from casemate.operations.rights.records.document import CONTROLLER, Known, Point
from casemate.operations.rights.records.facts import Facts
from casemate.operations.rights.restricted import count_of, restrictions
from casemate.respond import tables as incidents
from casemate.respond.requests import tables as requests


def point(
    facts: Facts,
    record: str,
    number: str,
    title: str,
    known: list[Known] | None = None,
    missing: str = "",
    by: str = CONTROLLER,
    unmeasured: list[str] | None = None,
) -> Point:
    """A point, with what people said of it in `[controller.said]`; then nothing is missing."""
    key = f"{record}/{number}"
    told = facts.controller.said.get(key, "").strip()
    known = list(known or [])
    if told:
        known.append(facts.said(f'[controller.said] "{key}"', told))
        missing = ""
    return Point(
        id=number,
        title=title,
        known=known,
        missing=missing,
        by=by if missing else "",
        unmeasured=unmeasured or [],
    )


def words(facts: Facts, option: str, what: str) -> tuple[list[Known], str]:
    """(what `[controller]` says of an option, what is missing where it says nothing)."""
    value = getattr(facts.controller, option)
    if isinstance(value, str):
        text = value.strip()
        return ([facts.said(f"[controller] {option}", text)], "") if text else ([], what)
    if value is None:
        return [], what
    return [facts.said(f"[controller] {option}", "; ".join(value) or "none")], ""


def several(facts: Facts, **options: str) -> tuple[list[Known], str]:
    """The same of several options at once."""
    found = [words(facts, option, what) for option, what in options.items()]
    return [one for known, _ in found for one in known], "; ".join(
        what for _, what in found if what
    )


def who(facts: Facts) -> tuple[list[Known], str]:
    """Who is answerable."""
    return several(
        facts,
        name="name of the controller",
        contact="contact details",
        joint="joint controllers, or that there are none",
        representative="representative, or why none is needed",
        officer="data protection officer with contact, or why none is designated",
    )


def purpose(facts: Facts) -> tuple[list[Known], str]:
    """What for."""
    known, missing = words(facts, "purpose", "the purpose in words that anybody understands")
    short = facts.config.project.purpose
    if short != "unspecified":
        known.insert(0, facts.said("[project] purpose", short))
    elif missing:
        missing = "the purpose: [project] purpose is `unspecified`"
    return known, missing


def basis(facts: Facts) -> tuple[list[Known], str]:
    """On which legal basis."""
    about = facts.config.project.purpose
    table = facts.config.privacy.basis.get(about)
    if table is None:
        return [], f"the legal basis: [privacy.basis] has none for {about!r}"
    known = [facts.said(f"[privacy.basis] {about}", table.legal)]
    if table.record:
        known.append(facts.said(f"[privacy.basis] {about} record", table.record))
    sealed = None if facts.dataset is None else facts.dataset.basis
    if sealed is not None:
        text = f"sealed with the data set: {sealed.legal} for {sealed.purpose}"
        if sealed.legal == "consent":
            text += f"; rows left out for want of consent: {sealed.left_out}"
            text += f" of {sealed.people} people"
        known.append(facts.measured("data", text))
    if table.legal == "consent":
        covered = facts.project.consents.covered(about, table.texts)
        text = f"people covered now: {len(covered.subjects)}"
        known.append(Known(text=text, source=f"register of consent, SHA-256 {covered.digest}"))
    return known, ""


def data(facts: Facts) -> list[Known]:
    """What the data set holds, without a value of it."""
    found = facts.dataset
    if found is None:
        return []
    columns = found.schema.columns
    known = []
    for kind, name in (
        ("identifier", "direct identifiers"),
        ("sensitive", "columns declared as sensitive"),
        ("general", "other columns"),
    ):
        own = [one.name for one in columns if one.column_class == kind]
        known.append(facts.measured("data", f"{name}: {', '.join(own) or 'none'}"))
    known.append(facts.measured("data", f"to be predicted: {', '.join(found.schema.targets)}"))
    if not _is_private(facts):
        known.append(facts.measured("data", f"rows: {found.rows}, held out: {found.holdout}"))
    if found.restricted is not None:
        left = found.restricted
        text = f"rows left out by restriction or objection: {left.left_out} of {left.people} people"
        known.append(facts.measured("data", text))
    if facts.people is not None and not _is_private(facts):
        version = f"{found.name}@{found.version}"
        text = f"people with rows in {version}: {facts.people}"
        known.append(Known(text=text, source="index of subjects, by pseudonym"))
    return known


def _is_private(facts: Facts) -> bool:
    return facts.trained is not None and facts.trained.mode == "private"


def recipients(facts: Facts) -> tuple[list[Known], str]:
    """Who gets something."""
    known, missing = words(facts, "recipients", "categories of recipients, or that there are none")
    known += facts.counted("model:export", "exports of models")
    known += facts.counted("request:fulfilled", "requests of people that were fulfilled")
    config = facts.config
    for table, names in (
        ("sinks", config.sinks),
        ("notices", config.notices),
        ("trackers", config.trackers),
    ):
        if names:
            known.append(facts.said(f"[{table}]", f"systems that are told: {', '.join(names)}"))
    backups = [one.name for one in facts.project.recipients.all()]
    if backups:
        text = f"who can open backups: {', '.join(backups)}"
        known.append(Known(text=text, source="catalogue, recipients of backups"))
    return known, missing


def kept(facts: Facts) -> tuple[list[Known], str]:
    """How long."""
    known, missing = words(facts, "erasure", "time limits for erasing the data at its source")
    table = facts.config.retention
    text = f"runs and what only they refer to: {table.keep_days} days after their end"
    known.append(facts.said("[retention]", f"{text}, the newest {table.keep_runs} in any case"))
    served = facts.config.serve.keep_days
    known.append(facts.said("[serve] keep_days", f"records of predictions: {served} days"))
    if table.hold:
        known.append(facts.said("[retention] hold", f"under legal hold: {len(table.hold)}"))
    return known, missing


def measures(facts: Facts) -> list[Known]:
    """What is done for security, as far as configuration and log show it."""
    config, limits = facts.config, facts.config.serve.limits
    known = [
        facts.said(
            "[keys] provider",
            f"keys that seal tables and models are kept by: {config.keys.provider}",
        ),
        facts.said(
            "[keys] max_age_days", f"a key is overdue after {config.keys.max_age_days} days"
        ),
        facts.said("[access] mfa", f"who needs a second factor: {config.access.mfa}"),
        Known(
            text=f"audit log of {facts.entries} entries, verified for this record",
            source=f"checkpoint, root {facts.checkpoint}",
        ),
        facts.said("[sandbox] mode", f"training code is confined: {config.sandbox.mode}"),
        facts.said(
            "[serve.limits]",
            f"requests a minute and caller: {limits.requests_per_minute or 'no limit'}",
        ),
    ]
    if facts.dataset is not None and facts.dataset.subject:
        text = "direct identifiers are sealed under a key of each person's own"
        known.append(facts.measured("data", text))
    if facts.trained is not None and facts.trained.isolation:
        text = f"confinement in force while training code ran: {', '.join(facts.trained.isolation)}"
        known.append(facts.measured("train", text))
    if facts.signed:
        known.append(
            Known(text=f"model signature: {facts.signed}", source=facts.evidence("release"))
        )
    known += facts.counted("backup:created", "backups")
    known += facts.counted("backup:restored", "restorations")
    known += facts.counted("keys:rotate", "rotations of keys")
    known += facts.counted("access:break-glass", "uses of emergency access")
    if (size := config.privacy.min_group) > 1:
        known.append(
            facts.said("[privacy] min_group", f"no figure is about fewer than {size} rows")
        )
    return known


def spent(facts: Facts) -> tuple[list[Known], list[str]]:
    """(privacy budgets that were spent, what was not measured)."""
    delta = facts.config.privacy.budget_delta
    known = [
        Known(
            text=f"epsilon spent on {dataset} for {about}: {epsilon:.4g} at delta {delta:g}",
            source="ledger of privacy budgets",
        )
        for (dataset, about), epsilon in totals(facts.project.ledger.of(), delta).items()
    ]
    if facts.trained is None:
        return known, ["epsilon"]
    if facts.trained.privacy:
        return known, []
    mode = facts.trained.mode
    return known, [f"epsilon (training was {mode}: no differential privacy was promised)"]


def handled(facts: Facts) -> list[Known]:
    """Requests, restrictions and incidents on record."""
    barred = count_of(restrictions(facts.project))
    with facts.project.database.reading() as tx:
        asked = requests.requests(tx)
        open_ = [one for one in asked if not one.is_over]
        found = incidents.incidents(tx)
    return [
        Known(
            text=f"requests of people: {len(asked)}, of which {len(open_)} go on",
            source="catalogue, requests; each folded from entries of the log",
        ),
        Known(
            text=f"people whose processing is restricted now: {barred}",
            source="catalogue, requests; held against the log",
        ),
        Known(
            text=f"incidents: {len(found)}, of which {sum(one.is_open for one in found)} are open",
            source="catalogue, incidents; each folded from entries of the log",
        ),
    ]
