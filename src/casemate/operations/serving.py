"""Which versions answer callers, as the catalogue has it."""

import contextlib

from casemate.core.errors import Error
from casemate.wiring import Wiring


def live(project: Wiring, model: str) -> str:
    """The version that gateways serve as live: what is released so, else the newest that passed.

    Raises:
        ConfigError: there is no such model. RefusedError: no version has passed.
    """
    for one in project.rollouts.all():
        if one.model == model and one.part == "live":
            return one.reference
    return project.registry.get(model).reference


def in_service(project: Wiring) -> set[str]:
    """Versions that callers are answered by: what is released, what is served although nothing was
    promoted, what `[serve.models]` pins; without those whose answers somebody holds.
    """
    found = {one.reference for one in project.rollouts.all()}
    for reference in project.config.serve.models.values() or [project.config.project.name]:
        if "@" in reference:
            found.add(reference)
            continue
        with contextlib.suppress(Error):  # none has passed yet
            found.add(live(project, reference))
    holds = project.holds_kept.all()
    return {one for one in found if not any(hold.covers("answers", one) for hold in holds)}
