"""`casemate store`."""

import argparse
from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.options import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser(
        "show", help="where the catalogue is, and what it holds", parents=[common(nested=True)]
    )
    actions.add_parser(
        "upgrade",
        help="bring the catalogue of an older casemate to this one",
        parents=[common(nested=True)],
    )
    migrate = actions.add_parser(
        "migrate",
        help="move the catalogue to another database, verified",
        parents=[common(nested=True)],
    )
    migrate.add_argument(
        "url", help="postgresql://USER@HOST:PORT/DATABASE, or sqlite for a file in .casemate"
    )
    migrate.add_argument(
        "--password",
        metavar="REF",
        help="reference to the database password: env:NAME or file:PATH",
    )
    objects = actions.add_parser(
        "objects",
        help="move the sealed objects to another place, verified",
        parents=[common(nested=True)],
    )
    objects.add_argument("place", help="s3://BUCKET/PREFIX, or files for .casemate/objects")
    objects.add_argument("--endpoint", metavar="URL", help="of a server that is not AWS")
    objects.add_argument("--region", help="of the bucket")
    for name in ("access", "secret"):
        objects.add_argument(
            f"--{name}-key",
            metavar="REF",
            help=f"reference to the {name} key: env:NAME or file:PATH",
        )


def run(arguments: Any) -> int:
    """Show, upgrade or move the catalogue; move the objects."""
    from casemate.cli.output import emit, table

    project = open_for(arguments, check=arguments.action not in {"upgrade", "migrate"})
    if arguments.action == "show":
        shown = project.store.show()
        rows = [[name, count] for name, count in shown.rows.items()]
        text = f"{shown.store}, revision {shown.revision}; objects in {shown.objects}\n" + table(
            ["table", "rows"], rows
        )
        emit(arguments, shown, text)
        return 0
    if arguments.action == "objects":
        return _objects(arguments, project)
    if arguments.action == "upgrade":
        before, after = project.store.upgrade()
        emit(arguments, {"before": before, "after": after}, f"revision {before} -> {after}")
        return 0
    counts = project.store.move(
        "" if arguments.url == "sqlite" else arguments.url, arguments.password
    )
    text = (
        f"moved {sum(counts.values())} rows in {len(counts)} tables, every row compared;"
        " casemate.toml names the new store"
    )
    emit(arguments, {"rows": counts}, text)
    return 0


def _objects(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit
    from casemate.core.blobs.client import split_url
    from casemate.core.progress import counting

    place = "" if arguments.place == "files" else "s3://{}/{}".format(*split_url(arguments.place))
    settings = {
        name: value
        for name in ("endpoint", "region", "access_key", "secret_key")
        if (value := getattr(arguments, name)) is not None
    }
    with counting() as progress:
        count = project.store.move_objects({"objects": place, **settings}, progress)
    emit(
        arguments,
        {"objects": place, "count": count},
        f"{count} objects lie in {place or '.casemate/objects'}, each read back; casemate.toml"
        " says so",
    )
    return 0
