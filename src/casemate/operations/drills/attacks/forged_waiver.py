"""Somebody writes a waiver into the catalogue, signed by keys of their own."""

import datetime

from casemate.core.digest import sha256
from casemate.core.errors import Error, UnexplainedRow, VerificationError
from casemate.core.signatures import Signer
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene, sql
from casemate.operations.drills.seen import NotPlayable, Seen
from casemate.operations.runs import run
from casemate.stages.release.waiver import PREDICATE


def play(scene: Scene) -> Seen:
    """Play it."""
    with scene.broken() as project:
        model, gate = project.config.project.name, next(iter(project.config.gates), "")
        if not gate:
            raise NotPlayable("[gates] is empty: there is nothing to be waived")
        now = datetime.datetime.now(datetime.UTC)
        until = (now + datetime.timedelta(days=30)).isoformat()
        said = {"model": model, "gate": gate, "since": now.isoformat(), "until": until}
        said |= {"approver": 'User::"nobody"', "reason": "r"}
        digests = {gate: sha256(f"{model}/{gate}".encode())}
        forged = Signer.generate().sign_statement(digests, PREDICATE, said)
        row = (model, gate, said["since"], until, said["approver"], forged)
        query = (
            "INSERT INTO waiver (model, gate, since, until, principal, statement)"
            " VALUES (?, ?, ?, ?, ?, ?)"
        )
        sql(project, (query, row))
        watch = scene.strike()
        try:
            project.waivers.in_force(model)
        except (UnexplainedRow, VerificationError) as error:
            watch.sees(f"reading waivers: {error.message}")
        try:
            run(project, start="release")
        except Error as error:
            watch.stops(f"nothing is signed: {error.message}")
        return watch.seen()


ATTACK = Attack(
    id="forged-waiver",
    title="a waiver of a gate, signed by a stranger, is written into the catalogue",
    technique="AML.T0018",
    weakness="CWE-345",
    detects="rows that the log does not explain",
    contains="nothing is signed under it",
    within=60,
    play=play,
)
