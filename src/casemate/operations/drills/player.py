"""Playing a drill, in the process that `alone` made: it says on standard output, a line of JSON
each, what becomes of each attack.
"""

import os
import re
import time
from dataclasses import replace
from pathlib import Path

import msgspec
from msgspec import structs

from casemate.config import FILE_NAME, load
from casemate.core.errors import Error
from casemate.core.text import clean
from casemate.core.types import Record
from casemate.operations import founding
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.catalogue import named
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import NotPlayable, Seen
from casemate.operations.drills.twin import PROJECT, WORK
from casemate.operations.playbooks import forces
from casemate.operations.runs import run
from casemate.stages.release.drill import Moment, Played
from casemate.wiring import Wiring

MOST = 240
"""Characters of what a part said."""


class Line(Record, frozen=True, kw_only=True):
    """What the player says."""

    begins: str = ""
    """Name of what is played from now on."""
    played: Played | None = None
    """What became of an attack."""
    note: str = ""
    """How the copy differs."""


def main(folder: Path, names: list[str], *, cut: bool) -> None:
    """Play.

    Args:
        folder: of the copy.
        names: of attacks; none: all.
        cut: whether this process has a network of its own.
    """
    if not cut:
        say(Line(note="the kernel gives the copy no network of its own; it knows of nobody to ask"))
    scene = Scene(folder / PROJECT, folder / WORK)
    try:
        say(Line(begins="an honest run on the copy"))
        prepare(scene)
        for attack in named(names):
            say(Line(begins=attack.id))
            say(Line(played=played(scene, attack)))
    finally:
        scene.close()


def say(line: Line) -> None:
    """Write a line at once."""
    os.write(1, msgspec.json.encode(line) + b"\n")


def prepare(scene: Scene) -> None:
    """Found the copy, and run it honestly."""
    config = load(scene.root / FILE_NAME)
    with founding.found(scene.root, config) as found:
        founding.put_in_force(found)
    with Wiring.at(scene.root) as project:
        try:
            if (scene.root / forces.FOLDER).is_dir():
                forces.apply(project)
        except Error as error:
            say(Line(note=f"without playbooks: {error.message}"))
        try:
            result = run(project)
        except Error as error:
            scene.fault = error.message
            return
        scene.result = result
        if result.verdict.outcome != "passed":
            scene.fault = f"its honest run was {result.verdict.outcome}: " + "; ".join(
                " ".join(one.split()) for one in result.verdict.reasons[:3]
            )


def plain(scene: Scene, seen: Seen) -> Seen:
    """The same without folders that are gone when somebody reads it."""

    def told(moment: Moment | None) -> Moment | None:
        return moment and structs.replace(moment, by=shown(scene, moment.by))

    return replace(
        seen,
        detected=told(seen.detected),
        contained=told(seen.contained),
        said=shown(scene, seen.said),
    )


def shown(scene: Scene, text: str) -> str:
    """A text fit to be shown, with the copy's folder as `COPY`."""
    folder = re.escape(str(scene.work))
    return clean(re.sub(rf"{folder}/[^/\s]+(/copy)?", "COPY", text), MOST)


def played(scene: Scene, attack: Attack) -> Played:
    """Play one attack; what goes wrong while it is played is no verdict on it."""
    began = time.monotonic()
    scene.within = attack.within
    try:
        return attack.judged(plain(scene, attack.play(scene)), time.monotonic() - began)
    except NotPlayable as error:
        why = str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is: the attack was not played, and that blocks
        why = shown(scene, f"{type(error).__name__}: {error}")[:300]
    return attack.told("not-played", said=why, took=time.monotonic() - began)
