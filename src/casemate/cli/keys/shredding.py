"""`casemate keys shred`: what became of a person's key, and where they can still be read."""

from typing import Any


def shred(arguments: Any, project: Any) -> int:
    """Destroy a person's key and say what is left of them."""
    from casemate.cli.output import emit
    from casemate.core.secrets import read_secret

    # policy is asked before anybody is asked for an identifier
    done = project.keys.erase(
        lambda: read_secret(arguments.subject), look=arguments.look, blank=arguments.blank
    )
    who = f"subject {done.subject[:16]}"
    lines = [
        f"looked through: {', '.join(f'{count} {what}' for what, count in done.looked.items())}"
    ]
    lines += [
        f"{'sealed under their key' if arguments.look else 'unreadable'} in {version}: {rows} rows"
        for version, rows in done.sealed.items()
    ]
    lines += [f"taken out of {version}: {cells} cells" for version, cells in done.emptied.items()]
    lines += [f"STILL READABLE in {place.where}: {place.advice}" for place in done.readable]
    if arguments.look:
        lines.append(
            f"nothing was destroyed; {len(done.readable)} places hold {who} beyond the reach of"
            " their key"
        )
    else:
        key = (
            f"the key of {who} is destroyed"
            if done.key
            else f"{who} has no key that could be destroyed, their cells are emptied"
        )
        where = "here" if "objects" in done.looked else "in the tables"
        lines.append(
            f"NOT ERASED: {key}, but what is listed above still holds them"
            if done.readable
            else f"{key}; nothing readable is left {where}"
        )
    lines += [f"beyond casemate's reach: {place.where}: {place.advice}" for place in done.beyond]
    emit(arguments, done, "\n".join(lines))
    return 1 if done.readable else 0
