"""`casemate doctor --security`: how well this machine and this account keep what casemate keeps.
Every line is good, weak, or could not be looked at, which is not good.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from casemate.core.errors import Error
from casemate.operations.selfcheck import kept, machine, software
from casemate.operations.selfcheck.interface import Look
from casemate.wiring import Wiring


def examine(path: str, overrides: list[str], root: Path = Path("/")) -> list[Look]:
    """Every line; those of a project only where there is one.

    Args:
        path: of its configuration.
        overrides: of `-s`.
        root: of the file system in which the kernel tells of itself.
    """
    found = [*_looked(machine.LOOKERS, lambda look: look(root))]
    found += _looked(software.LOOKERS, lambda look: look())
    try:
        project = Wiring.at(path, overrides)
    except Error as error:
        return [*found, Look.unseen("project", error.message, error.hint)]
    return [*found, *_looked(kept.LOOKERS, lambda look: look(project))]


def _looked(
    lookers: dict[str, Callable[..., Iterable[Look]]],
    ask: Callable[[Callable[..., Iterable[Look]]], Iterable[Look]],
) -> Iterator[Look]:
    """What each says; one that breaks has not looked, however it broke."""
    for subject, look in lookers.items():
        try:
            yield from list(ask(look))
        except Error as error:
            yield Look.unseen(subject, error.message, error.hint)
        except OSError as error:
            yield Look.unseen(subject, f"the operating system refused: {error.strerror or error}")
        except Exception as error:  # noqa: BLE001 - a look that broke is none
            yield Look.unseen(subject, f"looking failed: {type(error).__name__}: {error}")
