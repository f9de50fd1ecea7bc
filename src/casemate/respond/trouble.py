"""Entries of the log that mean trouble, as alerts. They have no end: what happened has happened.

Nothing personal: whoever is meant is a pseudonym here, and stands in the entry itself.
"""

import datetime

from casemate.core.digest import sha256
from casemate.core.entry import Entry
from casemate.respond.alerts import Alert, Urgency, made
from casemate.respond.readers import OWN

MODELS = {
    "model:withdrawn": ("model-withdrawn", "casemate model rollback, then casemate fsck"),
    "model:not-loaded": ("model-not-loaded", "casemate fsck says what is damaged"),
    "model:canary-failed": ("model-canary-failed", "it is not asked any more: train anew"),
}
"""Action -> name of the alert, and what to do."""
RISKY = 50
"""Risk from which policy asks for a second factor again (`risk-asks-for-a-second-factor`)."""
UNVERIFIED = ("CM-VERIFY", "CM-HISTORY", "CM-ROWS")
"""Codes of faults that mean that something was changed."""

SANDBOX = "refused by the sandbox"
"""What a run's fault says where its code tried more than it may."""


def alert_of(entry: Entry, now: datetime.datetime) -> Alert | None:
    """What an entry means; None: no trouble.

    Args:
        entry: of the log.
        now: the time.
    """
    detail = entry.detail
    if entry.action in MODELS and entry.outcome == "failed":
        name, hint = MODELS[entry.action]
        model = entry.resource.removeprefix('Model::"').removesuffix('"')
        return _made(entry, now, name, hint, str(detail.get("reason", "")), model=model)
    if entry.action == "audit:fork":
        hint = "casemate audit verify; keep what the witness or the copy says as proof"
        return _made(entry, now, "log-forked", hint, str(detail.get("reason", "")))
    if entry.action == "signer:compromised":
        hint = "casemate keys signer rotate; sign anew what is still to be trusted"
        return _made(entry, now, "signer-compromised", hint, "a signer's keys may be known")
    if entry.action == "access:anomaly" and entry.outcome == "done":
        risk, kind = int(detail.get("risk", 0)), str(detail.get("kind", ""))
        text = f"{kind}, risk {risk}; entry {entry.index} of the log says who"
        hint = "casemate access finding list"
        severity: Urgency = "page" if risk >= RISKY else "note"
        person = pseudonym(entry.principal)
        return _made(entry, now, "access-anomaly", hint, text, severity, person=person)
    if entry.action == "access:break-glass" and entry.outcome == "done":
        text = f"emergency access was taken; entry {entry.index} of the log says by whom"
        hint = "casemate access review report"
        return _made(entry, now, "break-glass", hint, text, person=pseudonym(entry.principal))
    if entry.action == "run:end" and entry.outcome == "failed":
        error = str(detail.get("error", ""))
        run = entry.resource.removeprefix('Run::"').removesuffix('"')
        if error.partition(":")[0] in UNVERIFIED:
            text = f"the run {run} met something that does not verify"
            return _made(entry, now, "verification-failed", "casemate fsck", text)
        if SANDBOX in error or any(SANDBOX in one for one in detail.get("findings", [])):
            text = f"the sandbox of the run {run} refused what its code tried"
            return _made(entry, now, "sandbox-refused", f"casemate runs show {run}", text)
    return None


def _made(
    entry: Entry,
    now: datetime.datetime,
    name: str,
    hint: str,
    text: str,
    severity: Urgency = "page",
    **labels: str,
) -> Alert:
    return made(
        source=OWN,
        name=name,
        severity=severity,
        labels=labels,
        began=min(datetime.datetime.fromisoformat(entry.time), now),  # a clock may have leapt
        now=now,
        text=text,
        hint=hint,
        is_moment=True,
    )


def pseudonym(principal: str) -> str:
    """Twelve signs for a principal: enough to see that two alerts are about one."""
    return sha256(principal.encode())[:12]
