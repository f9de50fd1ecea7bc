"""`casemate predict FILE.csv`."""

import argparse
import datetime
import secrets
import sys
from pathlib import Path
from typing import Any

from casemate.cli.doors import enter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("file", type=Path, help="CSV file with the model's features; other columns are ignored")
    parser.add_argument("--model", help="model name (default: the project's)")
    parser.add_argument("--url", help="the gateway (default: [serve] host and port)")
    parser.add_argument("--token", help="file:PATH or env:NAME; default: one for this call, made by the owner")
    parser.add_argument("--certificate", type=Path, metavar="DIR", help="folder with cert.pem and key.pem, where the gateway demands one")
    parser.add_argument("--out", type=Path, help="write CSV there instead of to standard output")


def run(arguments: Any) -> int:
    """Predict every row."""
    import csv
    import io

    from casemate.core.files import write_atomic
    from casemate.serve.client import Client, read_rows

    project = enter(arguments)
    options = project.config.serve
    model = arguments.model or project.config.project.name
    rows = read_rows(arguments.file, project.config.data)
    token, revoke = _token(arguments.token, project, model)
    try:
        url = arguments.url or f"https://{options.host}:{options.port}"
        client = Client(url, token, project.keys.folder / "public" / "ca.pem", arguments.certificate)
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        for number, (names, found) in enumerate(client.predict(model, rows)):
            if number == 0:
                writer.writerow(names)
            writer.writerows(found)
    finally:
        revoke()
    if arguments.out:
        write_atomic(arguments.out, buffer.getvalue().encode(), mode=0o644)
        print(f"wrote {rows.num_rows} predictions to {arguments.out}", file=sys.stderr)
    else:
        sys.stdout.write(buffer.getvalue())
    return 0


def _token(reference: str | None, project: Any, model: str) -> tuple[str, Any]:
    from casemate.core.secrets import read_secret

    if reference:
        return read_secret(reference), lambda: None
    service = f"predict-{secrets.token_hex(4)}"
    token, identifier = project.access.admin.create_token(service, ["client"], [model], datetime.timedelta(hours=1))

    def revoke() -> None:
        with project.store.transaction() as tx:
            project.access.tokens.forget(tx, service)
            project.audit.append(tx, project.access.actor.uid, "token:revoke", f'Service::"{service}"', "done", {"token": identifier})

    return token, revoke
