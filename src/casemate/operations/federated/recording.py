"""What was asked and answered: this project's own rounds, and its signed record of a job."""

import msgspec

from casemate.controls.federation import COORDINATOR, cards
from casemate.controls.federation.cards import Card, Charter
from casemate.controls.federation.messages import RECORD_TYPE, JobRecord, RoundRecord
from casemate.controls.federation.rounds import Kept
from casemate.core.errors import ConfigError, VerificationError
from casemate.core.types import Record
from casemate.operations.acting import operation, reading
from casemate.operations.federated.parties import about, is_own, number_in
from casemate.wiring import Wiring


class Asked(Record, frozen=True, kw_only=True):
    """A round of a job, as it is on record here."""

    job: str
    """Digest of the job."""
    time: str
    """RFC 3339."""
    site: int
    """Number of the site whose answer it is; -1: what the coordinator gathered."""
    round: RoundRecord
    """What was asked, answered and not taken."""


@reading("federation:read")
def rounds(project: Wiring, name: str) -> list[Asked]:
    """Every round that was answered or gathered here under a charter, the oldest first.

    Args:
        project: of the coordinator, or of a site.
        name: of the federation; or the digest of a charter, also of one that counts no longer.

    Raises:
        AccessDenied: policy. ConfigError: no such charter counts here.
    """
    return [
        Asked(job=one.job, time=one.time, site=one.site, round=round_of(one))
        for one in project.federation.of(_digest(project, name))
    ]


@operation("federation:read")
def export(project: Wiring, name: str, job: str = "", *, as_site: bool = False) -> bytes:
    """This project's own record of a job, signed: an auditor compares it with those of others.

    Args:
        project: of the coordinator, or of a site.
        name: of the federation, whose charter counts here.
        job: digest of the job, or how it begins; default: the newest.
        as_site: what it answered, also where it is the coordinator.

    Returns:
        A DSSE envelope as JSON; see `controls.federation.comparing`.

    Raises:
        AccessDenied: policy. ConfigError: no such charter counts here, or no such job is on record.
    """
    acting = export.ask(project, federation=name[:80])
    charter = cards.charter_in(project.federation.charter(name).content)
    own, number = charter.coordinator, COORDINATOR
    if as_site or not is_own(project, own):
        number = number_in(project, charter)
        own = charter.sites[number]
    kept = project.federation.of(charter.digest, site=number)
    jobs = [digest for digest in dict.fromkeys(one.job for one in kept) if digest.startswith(job)]
    if not jobs or (job and len(jobs) > 1):
        raise ConfigError(
            f"there {'are several jobs' if jobs else 'is no job'} {job}".rstrip()
            + f" on record under {name}",
            hint=f"casemate federate rounds {name}",
        )
    found = record_of(charter, own, [one for one in kept if one.job == jobs[-1]])
    signed = cards.signed(found, RECORD_TYPE, project.signer)
    acting.record("federation:export", about(name), job=found.job, rounds=len(found.rounds))
    return signed


def record_of(charter: Charter, party: Card, kept: list[Kept], model: str = "") -> JobRecord:
    """A party's record of one job.

    Args:
        charter: under which.
        party: whose record it is.
        kept: the rounds of the job.
        model: SHA-256 of what came of it; empty: of a site's own record, or nothing came.
    """
    told = [round_of(one) for one in kept]
    heard = sorted({number for one in told for number in one.answers})
    return JobRecord(
        charter=charter.digest,
        job=kept[0].job,
        party=party.fingerprint,
        site=kept[0].site,
        rounds=told,
        model=model,
        sites=[charter.sites[number].fingerprint for number in heard],
    )


def round_of(kept: Kept) -> RoundRecord:
    """What is on record of a round; VerificationError: it cannot be read."""
    try:
        return msgspec.json.decode(kept.record, type=RoundRecord)
    except msgspec.MsgspecError as error:
        raise VerificationError(
            "the record of a round cannot be read", hint="restore the catalogue from a backup"
        ) from error


def _digest(project: Wiring, name: str) -> str:
    """Of the charter that counts under a name, or that is itself given."""
    if len(name) == 64 and not set(name) - set("0123456789abcdef"):
        return name
    return project.federation.charter(name).digest
