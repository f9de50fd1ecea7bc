"""The manifests of a folder: one overlay of what `casemate deploy kubernetes` wrote, as kustomize
puts it together, or plain files.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from casemate.core.errors import BackendError, ConfigError
from casemate.deploy.cluster.documents import Document, load

OVERLAYS, ADMISSION = "overlays", "admission"
FILE = "kustomization.yaml"
OTHER_NAMES = ("kustomization.yml", "Kustomization")
PLACES = (
    "resources",
    "bases",
    "components",
    "crds",
    "configurations",
    "generators",
    "transformers",
)
"""Fields of a kustomization that name files, folders, or places in the network."""
SECONDS = 60
PROGRAMS = (("kubectl", "kustomize"), ("kustomize", "build"))
SUFFIXES = (".yaml", ".yml", ".json")
MOST_KUSTOMIZATIONS = 50


def manifests(folder: Path, overlay: str | None, *, admission: bool) -> list[Document]:
    """Every object that is to be in the cluster.

    Args:
        folder: what was rendered.
        overlay: of it; None: the only one, or files that have none.
        admission: with `admission/`, which a cluster's owner applies.

    Raises:
        ConfigError: there is no such overlay, or something in it is elsewhere. BackendError: there
            is no kustomize.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder", hint="casemate deploy kubernetes FOLDER")
    found = _built(folder, chosen(folder, overlay))
    if admission:
        if not (folder / ADMISSION).is_dir():
            raise ConfigError(f"{folder} has no {ADMISSION}", hint="[deploy.kubernetes] admission")
        found += _built(folder, folder / ADMISSION)
    return found


def chosen(folder: Path, overlay: str | None) -> Path:
    """The folder that is applied."""
    known = sorted(path.parent.name for path in (folder / OVERLAYS).glob(f"*/{FILE}"))
    if overlay is None and not known:
        return folder
    if overlay is None and len(known) == 1:
        overlay = known[0]
    if overlay not in known:
        said = (
            "which overlay is meant is not said" if overlay is None else f"no overlay {overlay!r}"
        )
        raise ConfigError(
            f"{folder}: {said}", hint="--overlay " + (" or ".join(known) or "is for folders with")
        )
    return folder / OVERLAYS / overlay


def _built(root: Path, folder: Path) -> list[Document]:
    if (folder / FILE).is_file():
        _require_here(root.resolve(), folder.resolve())
        return load(_kustomized(folder), str(folder))
    paths = [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES]
    found = [
        document
        for path in paths
        if not path.name.startswith(".")
        for document in load(path.read_bytes(), str(path))
    ]
    if not found:
        raise ConfigError(f"{folder} has no manifests", hint="casemate deploy kubernetes FOLDER")
    return found


def _require_here(root: Path, folder: Path) -> None:
    """ConfigError: a kustomization names something outside of the folder, such as an address in the
    network, which kustomize would fetch.
    """
    seen, waiting = set(), [folder]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        for name in OTHER_NAMES:
            if (one / name).exists():
                raise ConfigError(f"{one / name}: casemate reads {FILE} only", hint="rename it")
        if len(seen) > MOST_KUSTOMIZATIONS:
            raise ConfigError(f"{root} has more than {MOST_KUSTOMIZATIONS} kustomizations")
        for named in _named(one / FILE):
            path = (one / named).resolve()
            if not path.is_relative_to(root) or not path.exists():
                raise ConfigError(
                    f"{one / FILE} names {named!r}, which is not in {root}",
                    hint="copy it into the folder: nothing is fetched",
                )
            if path.is_dir():
                waiting.append(path)


def _named(path: Path) -> Iterator[str]:
    if not path.is_file():
        raise ConfigError(f"there is no {path}")
    for document in load(path.read_bytes(), str(path)):
        for field in PLACES:
            value = document.get(field)
            yield from (one for one in (value if isinstance(value, list) else []) if _is_text(one))
        if "helmCharts" in document or "helmChartInflationGenerator" in document:
            raise ConfigError(f"{path} has Helm charts, which would be fetched", hint="remove them")


def _is_text(one: object) -> bool:
    return isinstance(one, str) and "\n" not in one  # several lines are a resource by itself


def _kustomized(folder: Path) -> bytes:
    found = [(path, verb) for name, verb in PROGRAMS if (path := shutil.which(name))]
    if not found:
        raise BackendError(
            "there is no kubectl or kustomize, which puts the folder's files together",
            hint="install kubectl",
        )
    program, verb = found[0]
    try:
        done = subprocess.run(
            [program, verb, str(folder)], capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise BackendError(f"{program} did not end within {SECONDS} s") from None
    if done.returncode:
        text = done.stderr.decode(errors="replace").strip().split("\n")[-1][:300]
        raise ConfigError(f"{program} {verb} {folder}: {text}")
    return done.stdout
