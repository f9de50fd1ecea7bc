"""Which class of the table each output of an imported model stands for: by name, by number, or as
the user says; never by position.
"""

from typing import Any

from casemate.core.errors import VerificationError

_WAY = (
    "[train] classes = [...] names, for each output of the model in its order, the class of the"
    " table"
)


def order_of(values: list[Any], classes: list[str], said: list[str]) -> list[int]:
    """The table's class number of each of the model's classes, in the model's order.

    Args:
        values: what the model calls its classes.
        classes: the table's, as text.
        said: `[train] classes`; none: by name, else by number where the model has the numbers 0 to
            k-1.

    Raises:
        VerificationError: there are more or fewer, no name fits, or names and numbers would say
            different things.
    """
    names = [_name(value) for value in values]
    told = f"the model has the classes {_listed(names)}, the table {_listed(classes)}"
    if len(names) != len(classes):
        raise VerificationError(
            f"the imported model knows {len(names)} classes, the table has {len(classes)}: {told}",
            hint="use a model of this table",
        )
    if said:
        if sorted(said) != sorted(classes):
            raise VerificationError(
                f"[train] classes does not name each class of the table once: {told}", hint=_WAY
            )
        return [classes.index(name) for name in said]
    by_name = _by_name(names, classes)
    by_number = (
        list(range(len(classes)))
        if names == [str(number) for number in range(len(classes))]
        else None
    )
    if by_name is not None and by_number is not None and by_name != by_number:
        raise VerificationError(
            f"the imported model's classes may be names or numbers of the table's: {told}",
            hint=_WAY,
        )
    found = by_number if by_name is None else by_name
    if found is None:
        raise VerificationError(
            f"the imported model's classes are not the table's: {told}", hint=_WAY
        )
    return found


def _by_name(names: list[str], classes: list[str]) -> list[int] | None:
    for change in (str, str.casefold):  # true and True are one name, where that leaves no doubt
        changed = [change(name) for name in classes]
        if len(set(changed)) == len(classes) and sorted(map(change, names)) == sorted(changed):
            return [changed.index(change(name)) for name in names]
    return None


def _name(value: Any) -> str:
    """A class as the table writes it: 1.0 is 1."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    number = getattr(value, "item", lambda: value)()
    return str(int(number)) if isinstance(number, float) and number.is_integer() else str(number)


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name[:30]) for name in names[:8]) + (", …" if len(names) > 8 else "")
