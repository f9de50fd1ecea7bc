"""Looking at a gateway that runs, by every scanner that can."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence

from casemate.core.errors import Error, from_os_error
from casemate.operations.scans.endpoint.scratch import PYTHON, running
from casemate.supply.scanners.interface import Looked, Place, Scanner, looked
from casemate.wiring import Wiring


def endpoint_answers(
    project: Wiring,
    place: Place,
    scanners: Sequence[Scanner],
    progress: Callable[[str], None],
    program: Sequence[str] = PYTHON,
) -> list[Looked]:
    """What each says of a scratch copy of the project's gateway; that it could not look, where
    none comes up.

    Args:
        project: whose.
        place: what the scan may use.
        scanners: who looks, one after the other.
        progress: hears which one.
        program: runs Python for the copy.
    """
    with contextlib.ExitStack() as stack:
        try:
            progress("a scratch copy starts")
            target = stack.enter_context(running(project, place.folder("endpoint"), program))
            place = dataclasses.replace(place, target=target)
        except Error as error:
            place = dataclasses.replace(place, target=error)
        except OSError as error:
            place = dataclasses.replace(place, target=from_os_error(error))
        answers = []
        for scanner in scanners:
            progress(scanner.id)
            answers.append(looked(scanner, place))
        return answers
