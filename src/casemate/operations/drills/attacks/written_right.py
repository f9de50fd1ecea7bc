"""Somebody makes themselves an owner in the catalogue."""

import datetime

from casemate.core.errors import Error, UnexplainedRow
from casemate.operations.access import people
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene, sql
from casemate.operations.drills.seen import Seen
from casemate.operations.fsck import examine


def play(scene: Scene) -> Seen:
    """Play it."""
    with scene.broken() as project:
        now = datetime.datetime.now(datetime.UTC).isoformat()
        query = (
            "INSERT INTO principal (kind, name, roles, models, created)"
            " VALUES ('User', 'thief', '[\"owner\"]', '[]', ?)"
        )
        sql(project, (query, (now,)))
        watch = scene.strike()
        try:
            people.listing(project)
        except UnexplainedRow as error:
            watch.sees(f"casemate access: {error.message}")
        if watch.detected is None and examine(project).outcome != "intact":
            watch.sees("casemate fsck")
        try:
            people.add_user(project, "second", ["owner"])
        except Error as error:
            watch.stops(f"nobody acts on it: {error.message}")
        return watch.seen()


ATTACK = Attack(
    id="written-right",
    title="somebody writes themselves the role of owner into the catalogue",
    technique="AML.T0012",
    weakness="CWE-269",
    detects="rows that the log does not explain",
    contains="nobody acts on it",
    within=30,
    play=play,
)
