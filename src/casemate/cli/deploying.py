"""`casemate deploy apply`, `drift`, and `status` of what runs."""

import argparse
import contextlib
import re
import sys
from typing import TYPE_CHECKING, Any

from casemate.cli.commands import open_for
from casemate.cli.options import common

if TYPE_CHECKING:
    from collections.abc import Iterator

    from casemate.deploy.cluster.types import Applied, Limits
    from casemate.deploy.endpoint.release import Served
    from casemate.operations.deployments.clusters import Figures, Place

TARGETS = ("kubernetes", "sagemaker")
OF_CLUSTERS = (
    *("kubeconfig", "context", "overlay", "admission"),
    *("metrics", "metrics_ca", "metrics_token", "grace_seconds", "take_over"),
)
"""Options that say nothing of an endpoint."""


def add_arguments(actions: Any) -> None:
    """Both verbs."""
    apply = actions.add_parser(
        "apply",
        help="bring rendered files where they run: beside the former version, judged, switched",
        parents=[common(nested=True)],
    )
    apply.add_argument("folder", help="into which they were rendered")
    apply.add_argument("--to", choices=TARGETS, required=True, help="what kind of place it is")
    add_place(apply)
    apply.add_argument(
        "--model", metavar="NAME@VERSION", help="which model it is, where the files do not tell"
    )
    apply.add_argument("--metrics", metavar="URL", help="Prometheus that scrapes both versions")
    apply.add_argument("--metrics-ca", metavar="FILE", help="PEM file of its authority")
    apply.add_argument(
        "--metrics-token", metavar="REFERENCE", help="bearer token, as env:NAME or file:PATH"
    )
    for name, default, what in (
        ("ready", "300; sagemaker: 7200", "until the new version can answer"),
        ("judge", "900; sagemaker: 1800", "until enough is known to judge"),
        ("grace", "30", "between the switch and the end of the former pods"),
    ):
        apply.add_argument(
            f"--{name}-seconds",
            metavar="N",
            type=_seconds,
            default=None,
            help=f"{what} (default: {default})",
        )
    apply.add_argument(
        "--take-over",
        action="store_true",
        help="overwrite fields that somebody else manages in the cluster",
    )
    drift = actions.add_parser(
        "drift",
        help="what was changed by hand where rendered files were applied, and by whom",
        parents=[common(nested=True)],
    )
    drift.add_argument("folder", help="into which they were rendered")
    drift.add_argument("--to", choices=TARGETS, default=TARGETS[0], help="what kind of place it is")
    add_place(drift)
    drift.add_argument(
        "--model", metavar="NAME@VERSION", help="which model it is, where the files do not tell"
    )


def add_place(parser: argparse.ArgumentParser) -> None:
    """Which cluster."""
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="which cluster, and as whom (default: of the pod that this runs in)",
    )
    parser.add_argument("--context", metavar="NAME", help="of it (default: its current one)")
    parser.add_argument("--overlay", metavar="NAME", help="of the folder (default: its only one)")
    parser.add_argument(
        "--admission", action="store_true", help="with admission/, which needs other rights"
    )


def is_placed(arguments: Any) -> bool:
    """Whether a cluster was named."""
    return bool(arguments.kubeconfig or arguments.context or arguments.overlay)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number of seconds from 0 to 86400")
    return value


def _place(arguments: Any) -> "Place":
    from casemate.operations.deployments.clusters import Place

    return Place(
        kubeconfig=arguments.kubeconfig,
        context=arguments.context,
        overlay=arguments.overlay,
        admission=arguments.admission,
    )


def _figures(arguments: Any) -> "Figures | None":
    from casemate.operations.deployments.clusters import Figures

    if arguments.metrics is None:
        return None
    return Figures(url=arguments.metrics, ca=arguments.metrics_ca, token=arguments.metrics_token)


def _limits(arguments: Any, usual: "Limits") -> "Limits":
    from msgspec.structs import replace

    names = ("ready", "judge", "grace")
    said = {name: getattr(arguments, f"{name}_seconds") for name in names}
    return replace(usual, **{name: value for name, value in said.items() if value is not None})


class _Progress:
    """A live line on a terminal; elsewhere a line whenever something else is waited for."""

    def __init__(self) -> None:
        from casemate.core.progress import Lines

        self.lines, self.last = Lines(), ""

    def __call__(self, text: str) -> None:
        """Show what is being done."""
        if self.lines.live:
            self.lines.progress(text, 0, 0)
        elif (plain := re.sub(r"[0-9]+", "", text)) != self.last:
            self.last = plain
            print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _shown() -> "Iterator[_Progress]":
    progress = _Progress()
    try:
        yield progress
    finally:
        progress.lines.close()


def _what(done: "Applied | Served") -> str:
    return "is as it was applied before" if done.how == "unchanged" else "serves"


def _told(arguments: Any, done: "Applied | Served", lines: list[str]) -> int:
    from casemate.cli.output import emit

    if done.reason:
        lines.append(f"judged: {done.reason}")
    lines += [f"image: {place}: {image}" for place, image in sorted(done.images.items())]
    emit(arguments, done, "\n".join(lines))
    return 0


def _update(arguments: Any) -> int:
    from casemate.deploy.endpoint.release import LIMITS

    _refuse_cluster(arguments)
    with _shown() as progress:
        done = open_for(arguments).deployments.apply_endpoint(
            arguments.folder,
            model=arguments.model,
            limits=_limits(arguments, LIMITS),
            progress=progress,
        )
    what = _what(done)
    lines = [f"{done.endpoint}: configuration {done.configuration} {what}", f"model: {done.model}"]
    lines.append(f"requests: sha256:{done.requests}")
    return _told(arguments, done, lines)


def _otherwise(arguments: Any) -> int:
    from casemate.cli.output import emit, table

    _refuse_cluster(arguments)
    found = open_for(arguments).deployments.drift_endpoint(arguments.folder, model=arguments.model)
    rows = [[one.object, one.field, one.rendered, one.there] for one in found]
    text = table(["object", "field", "rendered", "there"], rows) if rows else "as it was rendered"
    emit(arguments, found, text)
    return 1 if found else 0


def _refuse_cluster(arguments: Any) -> None:
    from casemate.core.errors import ConfigError

    given = [name for name in OF_CLUSTERS if getattr(arguments, name, None) not in (None, False)]
    if given:
        raise ConfigError(
            f"--{given[0].replace('_', '-')} is for clusters",
            hint="SageMaker has account and region from [deploy.aws], and judges by its alarms",
        )


def _apply(arguments: Any) -> int:
    if arguments.to == "sagemaker":
        return _update(arguments)
    from casemate.deploy.cluster.types import Limits

    limits = _limits(arguments, Limits())
    with _shown() as progress:
        done = open_for(arguments).deployments.apply(
            arguments.folder,
            _place(arguments),
            model=arguments.model,
            figures=_figures(arguments),
            limits=limits,
            take_over=arguments.take_over,
            progress=progress,
        )
    what = _what(done)
    lines = [f"{done.namespace}: revision {done.revision} {what}, {done.objects} objects"]
    lines += [f"model: {done.model}", f"manifests: sha256:{done.bundle}"]
    return _told(arguments, done, lines)


def _drift(arguments: Any) -> int:
    if arguments.to == "sagemaker":
        return _otherwise(arguments)
    from casemate.cli.output import emit, table

    found = open_for(arguments).deployments.drift(
        arguments.folder, _place(arguments), model=arguments.model
    )
    lines = []
    if found.differences:
        heads = ["object", "", "field", "applied", "there", "by"]
        rows = [
            [one.object, one.how, one.field, one.applied, one.there, one.who]
            for one in found.differences
        ]
        lines.append(table(heads, rows))
    if not found.current:
        lines.append(f"{arguments.folder} is not what was released (revision {found.revision})")
    if found.none:
        lines.append(f"{found.namespace}: everything is as it was applied")
    emit(arguments, found, "\n".join(lines))
    return 0 if found.none else 1


def running(arguments: Any) -> int:
    """What runs where one folder's files go."""
    from casemate.cli.output import emit, table
    from casemate.core.errors import ConfigError

    if len(arguments.folders) != 1:
        raise ConfigError("one folder must be named", hint="casemate deploy status FOLDER ...")
    found = open_for(arguments).deployments.running(arguments.folders[0], _place(arguments))
    lines = [f"{found.cluster} (Kubernetes {found.version}), namespace {found.namespace}"]
    if found.released is None:
        lines.append("nothing was released here")
    else:
        one = found.released
        lines.append(f"revision {one.revision} since {one.since} by {one.who}: {one.model}")
        lines.append(f"manifests sha256:{one.bundle}")
    if found.step != "idle":
        lines.append(f"a release is under way: {found.step}")
    if found.reason:
        lines.append(f"the last one was taken back: {found.reason}")
    rows = [
        [pods.name, "yes" if pods.serves else "no", pods.state or "ready", name, image]
        for pods in found.pods
        for name, image in pods.images.items()
    ]
    if rows:
        lines.append(table(["deployment", "serves", "state", "container", "image"], rows))
    lines += [f"{pods.name}: verified by: {how}" for pods in found.pods for how in pods.verified]
    lines += [
        f"{pods.name}: NOT VERIFIED before it starts" for pods in found.pods if not pods.verified
    ]
    emit(arguments, found, "\n".join(lines))
    return 0


RUN = {"apply": _apply, "drift": _drift}
