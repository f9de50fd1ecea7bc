"""`casemate image`."""

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.options import common

PYTHON = "/usr/bin/python3"
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
    gateway = actions.add_parser(
        "gateway",
        help="the gateway as an OCI image layout: a base, and packages by their hashes",
        parents=[common(nested=True)],
    )
    gateway.add_argument("dir", type=Path, help="a new folder")
    gateway.add_argument(
        "--base", type=Path, required=True, help="an OCI image layout with Python and nothing else"
    )
    gateway.add_argument("--base-digest", metavar="sha256:…", help="that the base must have")
    gateway.add_argument("--wheels", type=Path, required=True, help="a folder with the packages")
    gateway.add_argument("--python-version", help="of the base, such as 3.11 (default: this one)")
    gateway.add_argument(
        "--platform",
        action="append",
        default=[],
        help="of the base, such as manylinux_2_28_x86_64 (default: this machine's)",
    )
    gateway.add_argument(
        "--lock",
        type=Path,
        action="append",
        required=True,
        help="a requirements file with hashes; may be given several times",
    )
    gateway.add_argument(
        "--python",
        default=PYTHON,
        help=f"the interpreter in the base (default: {PYTHON})",
    )
    gateway.add_argument(
        "--sign",
        action="store_true",
        help="attach where it comes from, signed by the project (SLSA provenance)",
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

    if arguments.action == "gateway":
        return _gateway(arguments)
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
        f"copy it:  skopeo copy --preserve-digests oci:{made.folder}:{made.tag} docker://REGISTRY/NAME",
    ]
    emit(arguments, made, "\n".join(text))
    return 0


def _gateway(arguments: Any) -> int:
    from casemate.cli.output import emit
    from casemate.deploy.gateway.layout import build

    made = build(
        arguments.dir,
        arguments.base,
        arguments.wheels,
        arguments.lock,
        base_digest=arguments.base_digest,
        python=arguments.python,
        python_version=arguments.python_version,
        platforms=arguments.platform,
        moment=_moment(),
        attest=partial(open_for(arguments).images.attest, "casemate-gateway")
        if arguments.sign
        else None,
    )
    text = [
        f"{made.folder}:{made.tag} is {made.digest}, {len(made.packages)} packages on {made.base}",
        f"copy it: skopeo copy --preserve-digests oci:{made.folder}:{made.tag} docker://REGISTRY/NAME",
        *([f"check it: casemate verify {made.folder}"] if arguments.sign else []),
        "mount: /model, /keys (the owner's public keys), /project; an empty volume: /run/casemate",
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
