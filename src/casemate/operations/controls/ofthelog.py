"""Checks of the audit log: what everything else stands on."""

from casemate.controls.audit.copies import Copies
from casemate.controls.audit.verify import WITNESSED
from casemate.core.digest import sha256
from casemate.core.errors import VerificationError
from casemate.operations.controls.facts import Facts
from casemate.operations.controls.kinds import Seen, check, judged


@check(
    "log.verifies",
    "Tree, tiles, signatures and every entry of the audit log hold",
    answers="operator",
    mend="casemate fsck says what is damaged, --repair rebuilds what can be; else restore a backup",
)
def verifies(facts: Facts) -> Seen:
    """Look at the whole log."""
    head = facts.log.checkpoint
    checkpoint = (facts.project.log.folder / "checkpoint").read_bytes()
    return judged(
        "",
        f"{head.size} entries hold",
        entries=head.size,
        root=head.root.hex(),
        checkpoint=sha256(checkpoint),
    )


@check(
    "log.seen-outside",
    "Somebody outside, a witness or a copy, has seen the log within `[audit] max_age_hours`",
    answers="operator",
    mend="[audit] witnesses or copies in casemate.toml, then casemate audit cosign or copy",
)
def seen_outside(facts: Facts) -> Seen:
    """Without asking anybody: what a witness signed, and what copies hold.

    A place that holds a checkpoint of n entries vouches for those. So it counts when the first
    entry that nobody outside has seen was made, which no clock outside is needed for.
    """
    audit = facts.config.audit
    if not (audit.witnesses or audit.copies):
        return judged(
            "no witness and no copy is configured: whoever holds the log's keys could write another"
            " history",
            "",
            witnesses=0,
            copies=0,
        )
    places = facts.project.publication.copies
    sizes = {f"copy {n}": _copied(facts, place) for n, place in enumerate(places, 1)}
    sizes["witnesses"] = _witnessed(facts)
    seen = max(sizes.values())
    times = facts.walked.times
    oldest = times[seen] if seen < len(times) else ""
    late = bool(oldest) and oldest < facts.before(hours=audit.max_age_hours)
    fault = (
        f"entries from number {seen} on were made before {audit.max_age_hours:g} hours ago and"
        " nobody outside has seen them"
        if late
        else ""
    )
    outside = {name: size for name, size in sizes.items() if size}
    return judged(fault, f"{seen} of {len(times)} entries were seen outside", sizes=outside)


def _copied(facts: Facts, place: Copies) -> int:
    """Entries in the newest copy at a place, if it is a former state of this log."""
    newest = place.newest(facts.project.log.signer.vkeys)
    if newest is None:
        return 0
    facts.log.require_prefix(newest, "a copy")
    return int(newest.size)


def _witnessed(facts: Facts) -> int:
    """Entries in the checkpoint that at least `[audit] quorum` witnesses cosigned."""
    path = facts.project.log.folder / WITNESSED
    if not path.is_file():
        return 0
    content, vkeys = path.read_bytes(), facts.project.log.signer.vkeys
    peers = {peer.name: peer.keys for peer in facts.project.publication.witnesses}
    size, names = facts.log.cosigned(content, vkeys, peers)
    return size if names and len(names) >= facts.config.audit.quorum else 0


@check(
    "log.one-history",
    "No other history of the log is unexplained, and it goes on from what is known here",
    answers="auditor",
    mend="keep both histories; once it is explained: casemate audit resolve --reason TEXT",
)
def one_history(facts: Facts) -> Seen:
    """What this machine remembers outside of the project's folder."""
    heads = facts.project.publication.heads
    heads.require_explained()
    known = heads.newest(facts.project.log.signer.vkeys)
    if known is None:
        text = "this machine remembers nothing of the log to compare it with: casemate audit verify"
        return Seen("inconclusive", text, {"remembered": 0, "forks": 0})
    facts.log.require_prefix(known, "what this machine remembers")
    text = f"one history is known, {known.size} entries of it here"
    return judged("", text, remembered=known.size, forks=0)


@check(
    "log.rows",
    "Rights, releases and decisions in the catalogue are those that the log explains",
    answers="operator",
    mend="casemate fsck names them: ask who could write to the database, and undo it there",
)
def rows(facts: Facts) -> Seen:
    """Rows that somebody wrote past casemate are named by their table."""
    digests = facts.project.database.row_digests
    with facts.project.database.reading() as tx:
        differences = digests.differences(tx)
        count = int(digests.count(tx))
    tables = sorted({table for table, _ in differences})
    fault = f"the log does not explain rows in {', '.join(tables)}" if tables else ""
    return judged(fault, f"{count} rows are explained", rows=count, unexplained=tables)


@check(
    "answers.kept",
    "Records of predictions are on disk before an answer leaves, for `[controls] answers_days`",
    answers="operator",
    mend="[serve] keep_days and audit in casemate.toml",
)
def answers_kept(facts: Facts) -> Seen:
    """And those that are there verify."""
    serve, least = facts.config.serve, facts.config.controls.answers_days
    faults = []
    if serve.keep_days < least:
        faults.append(f"records go after {serve.keep_days} days; at least {least} are asked for")
    if serve.audit != "durable":
        faults.append("an answer may leave before its record is on disk")
    try:
        facts.project.decisions.check()
    except VerificationError as error:
        faults.append(error.message)
    return judged(
        "; ".join(faults),
        f"kept for {serve.keep_days} days, on disk before the answer leaves",
        keep_days=serve.keep_days,
        audit=serve.audit,
    )


CHECKS = (verifies, seen_outside, one_history, rows, answers_kept)
