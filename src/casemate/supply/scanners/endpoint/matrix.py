"""Everybody at every door with every method: what the gateway answers, held against what the policy
engine says when it is asked directly.

The weaknesses are those of OWASP's API Security Top 10 of 2023: API1 (objects), API2
(authentication), API5 (functions), API9 (what is there that nobody lists).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from casemate.core.types import Record
from casemate.core.types.scan import Grade, ScanKind
from casemate.supply.scanners.endpoint.doors import PUBLIC, RULES, Rule
from casemate.supply.scanners.interface import CouldNotLook, Hit, Looked, Place
from casemate.supply.scanners.running import (
    Client,
    Doors,
    Identity,
    Known,
    Question,
    Reply,
    Target,
)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SAFE = ("GET", "HEAD")
MALFORMED = b"["
"""Body of every request that takes one: policy is asked before it is read, and nothing is done that
a scan would have to undo.
"""
ABSENT, ABSENT_VERSION, ABSENT_INCIDENT = "scan-nobodys-model", "999999", "999999"
REFUSALS = 80
"""Of one account: with more of them whoever asks becomes an anomaly, rightly."""
MOST_TOLD = 3
REFERENCES: dict[str, list[str]] = {
    "let-in": ["CWE-285", "CWE-862", "OWASP-API5:2023"],
    "other": ["CWE-639", "CWE-863", "OWASP-API1:2023"],
    "stranger": ["CWE-287", "CWE-306", "OWASP-API2:2023"],
    "spoilt": ["CWE-613", "CWE-287", "OWASP-API2:2023"],
    "kept-out": ["CWE-863", "OWASP-API5:2023"],
    "error": ["CWE-755", "OWASP-API8:2023"],
    "unknown": ["CWE-1059", "OWASP-API9:2023"],
}


class Probe(Record, frozen=True, kw_only=True):
    """One door, one method, one resource."""

    door: str
    """Its path with `{names}`."""
    path: str
    method: str
    resource: str
    """`project`, `served` or `absent`."""


@dataclass(frozen=True)
class Answered:
    """What one caller was told."""

    probe: Probe
    identity: Identity
    status: int
    expected: str
    """In words."""
    difference: str
    """A key of `REFERENCES`; empty: as expected."""


class Matrix:
    """Looks at who gets in where."""

    id = "casemate-authorisation"
    kind: ScanKind = "endpoint"

    def __init__(self, methods: Sequence[str] = METHODS) -> None:
        self.methods = methods

    def look(self, place: Place) -> Looked:
        """See `Scanner.look`."""
        target = place.running()
        doors, known = target.doors, target.known
        unseen: dict[str, str] = {}
        hits = [*unlisted(doors), *foreign(target, unseen)]
        for path in RULES:
            if path not in {door.path for door in doors.doors}:
                unseen[path] = "the gateway lists no such door any more: nobody looked behind it"
        # of a gateway that others use only what its doors offer is asked
        asked = probes(doors, known, self.methods if target.scratch else ())
        answers: list[Answered] = []
        try:
            for identity, share in shared(known.identities, asked):
                answers += _answers(target, identity, share, unseen)
        except CouldNotLook as error:
            unseen[""] = f"after {len(answers)} questions: {error.sentence}"
        hits += list(differences(answers))
        return Looked(
            scanner=self.id, kind=self.kind, version="1", hits=hits, count=len(answers),
            unseen=unseen,
        )  # fmt: skip


def probes(doors: Doors, known: Known, methods: Sequence[str]) -> list[Probe]:
    """Every door with every method, or with its own where none is named, about what is there and
    what is not.
    """
    version = known.reference.rpartition("@")[2]
    filled = (
        ("served", {"{name}": known.served, "{version}": version}),
        ("absent", {"{name}": ABSENT, "{version}": version}),
        ("served", {"{name}": known.served, "{version}": ABSENT_VERSION}),
    )
    found: dict[tuple[str, str], Probe] = {}
    for door in doors.doors:
        if door.path not in RULES:
            continue
        for resource, values in filled if "{name}" in door.path else (("project", {}),):
            path = door.path.replace("{incident}", ABSENT_INCIDENT)
            for name, value in values.items():
                path = path.replace(name, value)
            for method in methods or (door.method,):
                one = Probe(door=door.path, path=path, method=method, resource=resource)
                found.setdefault((path, method), one)
    return list(found.values())


def accounts(count: int) -> int:
    """How many of each kind share so many questions."""
    return -(-count // REFUSALS)


def shared(
    identities: Sequence[Identity], asked: Sequence[Probe]
) -> Iterator[tuple[Identity, Sequence[Probe]]]:
    """Who asks what: those of one group share the questions, which one alone asks all of."""
    groups: dict[tuple[str, str], list[Identity]] = defaultdict(list)
    for one in identities:
        groups[one.group, one.state].append(one)
    for members in groups.values():
        for number, one in enumerate(members):
            yield one, asked[number :: len(members)]


def _answers(
    target: Target, identity: Identity, asked: Sequence[Probe], unseen: dict[str, str]
) -> list[Answered]:
    with Client(target, identity.certificate or None) as client:
        questions = [
            Question(
                method=one.method,
                path=one.path,
                token=identity.token,
                body=None if one.method in SAFE else MALFORMED,
            )
            for one in asked
        ]
        return held(identity, asked, client.ask_all(questions), unseen)


def held(
    identity: Identity, asked: Sequence[Probe], replies: Sequence[Reply], unseen: dict[str, str]
) -> list[Answered]:
    """Answers, held against what policy says; who was told to wait was told nothing."""
    found = []
    for probe, reply in zip(asked, replies, strict=True):
        expected, difference = judged(probe, identity, reply)
        if reply.status in (429, 503) and difference:
            unseen[f"{probe.method} {probe.door}"] = f"answered {reply.status} again and again"
            continue
        found.append(Answered(probe, identity, reply.status, expected, difference))
    return found


def judged(probe: Probe, identity: Identity, reply: Reply) -> tuple[str, str]:
    """(what was to come, which difference it is; empty: none)."""
    rule = RULES[probe.door]
    status = reply.status
    if probe.door in PUBLIC and probe.method in SAFE:
        return "200 or 503, to anybody", "" if status in (200, 503) else "error"
    if identity.state not in ("good", "narrowed"):
        spoilt = "spoilt" if identity.uid else "stranger"
        return "401", "" if status == 401 else "error" if status >= 500 else spoilt
    if not permitted(rule, probe, identity):
        about_other = "of other models" in identity.group
        wrong = "error" if status >= 500 else "other" if about_other else "let-in"
        return "403", "" if status == 403 else wrong if status != 401 else "kept-out"
    if status >= 500:
        return "an answer", "error"
    if status in (401, 403):
        return "to be let in", "kept-out"
    if not offered(rule, probe):
        return "405", "" if status in (404, 405) else "let-in"
    if probe.method not in SAFE:
        return "400 to a malformed body", "" if status in (400, 404, 413, 415, 422) else "let-in"
    return "200 or 404", "" if status in (200, 404) else "error"


def offered(rule: Rule, probe: Probe) -> bool:
    """Whether the door knows the method."""
    return probe.method == rule.method or (probe.method, rule.method) == ("HEAD", "GET")


def permitted(rule: Rule, probe: Probe, identity: Identity) -> bool:
    """What the policy engine says."""
    if rule.people and identity.kind != "User" and offered(rule, probe):
        return False
    resource = probe.resource if rule.is_about_a_model else "project"
    if rule.is_about_a_model and probe.resource == "project":
        resource = "served"  # /invocations is of the one model that is served
    return any(f"{action} {resource}" in identity.allowed for action in rule.actions)


def differences(answers: Sequence[Answered]) -> Iterator[Hit]:
    """One finding for each door and each kind of difference, whoever shows it by whatever method;
    it is another one when others can do it. Whose credentials are no good is no matter of a door.
    """
    together: dict[tuple[str, str, str], list[Answered]] = defaultdict(list)
    for one in answers:
        if one.difference in ("stranger", "spoilt"):
            together["", one.difference, _who(one)].append(one)
        elif one.difference:
            together[one.probe.door, one.difference, ""].append(one)
    for (door, difference, caller), same in sorted(together.items()):
        told = list(dict.fromkeys(_told(one) for one in same))
        who = [caller] if caller else sorted({_who(one) for one in same})
        yield Hit(
            rule=f"endpoint.authorisation-{difference}",
            severity=_grade(difference),
            message=f"{_few(who)}: {_few(told)}",
            path=place_of(door),
            material=f"{difference}: {', '.join(who)}",
            references=REFERENCES[difference],
            mend="serve/app.py asks policy before anything else; see whether this door does",
        )


def _told(one: Answered) -> str:
    return f"{one.probe.method} {one.probe.door} {one.status}, not {one.expected}"


def _who(one: Answered) -> str:
    return f"{one.identity.group} ({one.identity.state})"


def _few(words: Sequence[str]) -> str:
    more = f" and {len(words) - MOST_TOLD} more" if len(words) > MOST_TOLD else ""
    return ", ".join(words[:MOST_TOLD]) + more


def _grade(difference: str) -> Grade:
    if difference in ("stranger", "spoilt"):
        return "critical"
    return "high" if difference in ("let-in", "other") else "medium"


def unlisted(doors: Doors) -> Iterator[Hit]:
    """Doors that the gateway lists and nobody wrote a rule for, or otherwise than it is written."""
    for door in doors.doors:
        rule = RULES.get(door.path)
        if rule is None:
            text = f"the gateway has a door {door.method} {door.path} of which no rule is known"
            yield _unknown(door.path, text, f"door {door.method}")
        elif door.method != rule.method or door.action not in rule.actions:
            text = (
                f"{door.method} {door.path} asks for {door.action}, and is documented to ask"
                f" {rule.method} for {' or '.join(rule.actions)}"
            )
            yield _unknown(door.path, text, f"rule {door.method} {door.action}")
    for path in doors.open:
        if path not in PUBLIC:
            text = f"{path} answers anybody, and is documented to ask for credentials"
            yield _unknown(path, text, "open")


def _unknown(path: str, text: str, material: str) -> Hit:
    return Hit(
        rule="endpoint.door-unknown",
        severity="high",
        message=text,
        path=place_of(path),
        material=material,
        references=REFERENCES["unknown"],
        mend="write down what it asks of policy, or take it away",
    )


def place_of(path: str) -> str:
    """Where a finding about a door is."""
    return f"gateway{path}"


def foreign(target: Target, unseen: dict[str, str]) -> list[Hit]:
    """Doors of which the gateway's OpenAPI document speaks and its own list does not."""
    readers = [
        one
        for one in target.known.identities
        if "gateway:read project" in one.allowed and one.state == "good" and one.token
    ]
    if not readers:
        unseen["/openapi.json"] = "nobody may read it"
        return []
    with Client(target) as client:
        reply = client.ask("GET", "/openapi.json", readers[0].token)
    try:
        paths = set(msgspec.json.decode(reply.body, type=_Document).paths)
    except msgspec.MsgspecError:
        unseen["/openapi.json"] = f"answered {reply.status}, and is no OpenAPI document"
        return []
    text = "the OpenAPI document offers {path}, which is no door that the gateway lists"
    own = {door.path for door in target.doors.doors}
    return [_unknown(path, text.format(path=path), "openapi") for path in sorted(paths - own)]


class _Document(msgspec.Struct):
    paths: dict[str, msgspec.Raw]
