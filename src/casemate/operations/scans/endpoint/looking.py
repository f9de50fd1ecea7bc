"""Looking at a gateway that runs, by every scanner that can."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence

import msgspec

from casemate.core.errors import Error, from_os_error
from casemate.operations.scans.endpoint.remote import Remote, reached
from casemate.operations.scans.endpoint.scratch import PYTHON, running
from casemate.respond.findings import ELSEWHERE
from casemate.supply.scanners.interface import Looked, Place, Scanner, looked
from casemate.wiring import Wiring


def endpoint_answers(
    project: Wiring,
    place: Place,
    scanners: Sequence[Scanner],
    progress: Callable[[str], None],
    remote: Remote | None = None,
    program: Sequence[str] = PYTHON,
) -> list[Looked]:
    """What each says of a scratch copy of the project's gateway; that it could not look, where
    none comes up.

    Args:
        project: whose.
        place: what the scan may use.
        scanners: who looks, one after the other.
        progress: hears which one.
        remote: the gateway that is asked instead of a copy.
        program: runs Python for the copy.
    """
    with contextlib.ExitStack() as stack:
        try:
            work = place.folder("endpoint")
            if remote is None:
                progress("a scratch copy starts")
                target = stack.enter_context(running(project, work, program))
            else:
                target = stack.enter_context(reached(project, work, remote))
            place = dataclasses.replace(place, target=target)
        except Error as error:
            place = dataclasses.replace(place, target=error)
        except OSError as error:
            place = dataclasses.replace(place, target=from_os_error(error))
        answers = []
        for scanner in scanners:
            progress(scanner.id)
            one = looked(scanner, place)
            name = one.scanner if remote is None else one.scanner + ELSEWHERE
            answers.append(msgspec.structs.replace(one, scanner=name))
        return answers
