"""`casemate image`."""

import argparse
import os
from pathlib import Path
from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.options import common

EPOCH = "SOURCE_DATE_EPOCH"
"""https://reproducible-builds.org/specs/source-date-epoch/"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    model = actions.add_parser(
        "model",
        help="a signed model as an OCI image layout, with its provenance",
        parents=[common(nested=True)],
    )
    model.add_argument("reference", help="NAME or NAME@VERSION")
    model.add_argument("dir", type=Path, help="a new folder")
    model.add_argument(
        "--form",
        choices=("model", "volume"),
        default="model",
        help="model: a ModelPack artifact; volume: a plain image, to be mounted (default: model)",
    )
    withdrawn = actions.add_parser(
        "withdrawn",
        help="the signed list of models that must not be started any more",
        parents=[common(nested=True)],
    )
    withdrawn.add_argument("file", type=Path, help="withdrawn.json, beside the public keys")


def run(arguments: Any) -> int:
    """Write images."""
    from casemate.cli.output import emit

    project = open_for(arguments)
    if arguments.action == "withdrawn":
        listed = project.images.withdrawn(arguments.file)
        lines = [f"{arguments.file}: {len(listed.models)} models are withdrawn"]
        lines += [f"  {one.model}: {one.reason}" for one in listed.models]
        emit(arguments, listed, "\n".join(lines))
        return 0
    made = project.images.write(
        arguments.reference, arguments.dir, form=arguments.form, moment=_moment()
    )
    text = [
        f"{made.folder}:{made.tag} is {made.digest}, {made.size} bytes in layers",
        f"check it: casemate verify {made.folder} --require provenance",
        f"copy it:  skopeo copy oci:{made.folder}:{made.tag} docker://REGISTRY/NAME:{made.tag}",
    ]
    emit(arguments, made, "\n".join(text))
    return 0


def _moment() -> int:
    """Seconds since 1970 that the environment asks for; 0 where it does not."""
    from casemate.core.errors import ConfigError

    text = os.environ.get(EPOCH, "0")
    if not (text.isascii() and text.isdecimal() and len(text) <= 11):
        raise ConfigError(f"{EPOCH}={text[:40]!r} is no number of seconds", hint=f"{EPOCH}=0")
    return int(text)
