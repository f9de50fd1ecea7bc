"""`casemate serve`."""

import argparse
import json
import os
import sys
from typing import Any

from casemate.cli.commands import open_for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("--port", type=int, help="instead of [serve] port; 0 takes a free one")
    parser.add_argument(
        "--sagemaker",
        action="store_true",
        help="as a container of SageMaker: plain HTTP on port 8080 of every address",
    )

    parser.add_argument(
        "--release",
        metavar="PATH",
        help=(
            "serve this exported model, mount or image layout instead of what was trained here; the"
            " keys in [serve] trusted must have signed it"
        ),
    )


def run(arguments: Any) -> int:
    """Serve released models until a signal stops it."""
    from casemate.core.imports import uncollected

    with uncollected(for_good=True):
        from casemate.operations.founding import begin
        from casemate.serve.server import serve

    overrides = list(arguments.overrides)
    if arguments.sagemaker:
        overrides += [
            'serve.platform="sagemaker"',
            'serve.tls="proxy"',
            'serve.host="0.0.0.0"',
            "serve.port=8080",
        ]
    if arguments.port is not None:
        overrides.append(f"serve.port={arguments.port}")
    if arguments.release is not None:
        overrides.append(f"serve.release={json.dumps(os.path.abspath(arguments.release))}")
    if begin(arguments.config, overrides):
        print("made keys, catalogue and log of this gateway", file=sys.stderr, flush=True)
    project = open_for(arguments, overrides=overrides)

    def announce(url: str, models: list[str]) -> None:
        least = "TLS 1.3 (gRPC: 1.2)" if "grpcs:" in url else "TLS 1.3"
        how = (
            f"{least}, CA {project.keystore.folder / 'public' / 'ca.pem'}"
            if url.startswith("https")
            else "plain HTTP: something in front must do TLS"
        )
        print(f"serving {', '.join(models)} at {url} ({how})", flush=True)
        print("stop with Ctrl-C; ask with `casemate predict FILE.csv`", file=sys.stderr, flush=True)

    serve(project, announce)
    return 0
