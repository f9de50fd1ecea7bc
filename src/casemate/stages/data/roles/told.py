"""What is told of the roles that columns were found to have."""

from casemate.stages.data.roles.infer import Inferred


def notes(found: Inferred) -> list[str]:
    """What is lost, left out or not sure, a sentence a column."""
    said = []
    for role in found.roles:
        if role.note:
            said.append(f"column {role.name!r}: {role.note}")
        elif role.entry.column_class == "identifier":
            said.append(
                f"column {role.name!r} identifies rows ({role.reason}), so it is sealed under its"
                " own key and is no feature"
            )
        elif role.entry.use is False:
            said.append(f"column {role.name!r} is no feature: {role.reason}")
    if found.subject:
        said.append(
            f"{found.subject!r} says whom a row is about, and persons repeat: their rows stay on"
            " one side of every split (subject)"
        )
    if found.time:
        said.append(f"{found.time!r} says when a row arose (time)")
    return said


def why_none(found: Inferred) -> str:
    """Why no column is a feature."""
    return (
        "; ".join(f"{role.name!r} is {role.role} ({role.reason})" for role in found.roles[:8])
        or "there is the target only"
    )
