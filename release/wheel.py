"""`make wheel`: what a release consists of, made of a commit and of nothing else.

    python release/wheel.py build          dist/: the wheel, built twice, and its bill of materials
    python release/wheel.py keys FOLDER    a release's key pair, once, under a passphrase
    python release/wheel.py sign FOLDER    dist/: one signature file over both

The wheel is the same bytes wherever it is built: the tree comes out of git, and times are the
commit's (SOURCE_DATE_EPOCH, https://reproducible-builds.org/specs/source-date-epoch/). The bill of
materials (CycloneDX 1.6) names what `requirements/core.txt` locks. The signature file is a DSSE
envelope as casemate's models have it, ECDSA P-256 and ML-DSA-65, over an in-toto statement;
`check.py` verifies it with the package `cryptography` alone.
"""

import argparse
import datetime
import getpass
import json
import os
import re
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from casemate.core.digest import sha256
from casemate.core.signatures import Signer

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
LOCK = ROOT / "requirements" / "core.txt"
PREDICATE = "https://in-toto.io/attestation/release/v0.1"
KEYS = ("release.pub", "release-mldsa65.pub")
PRIVATE = ("release.pem", "release-mldsa65.pem")
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^ \\;]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class NotReproducible(SystemExit):
    """Two builds of one commit are not the same bytes."""


def commit_time(root: Path = ROOT) -> int:
    """Seconds since 1970 of the commit that is built."""
    return int(_git(root, "log", "-1", "--format=%ct"))


def _git(root: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def wheel(root: Path, out: Path, **environment: str) -> Path:
    """Build the commit at HEAD of `root` into `out`; what is not committed is not in it."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "-C", str(root), "archive", "HEAD"], check=True, capture_output=True
        ).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        variables = {**os.environ, "SOURCE_DATE_EPOCH": str(commit_time(root)), **environment}
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
        subprocess.run(command, cwd=folder, env=variables, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def build(root: Path = ROOT, out: Path = DIST) -> tuple[Path, Path]:
    """The wheel and its bill of materials in `out`.

    Raises:
        NotReproducible: a second build, under another locale, time zone and seed of hashes, gave
            other bytes; nothing is left in `out`.
    """
    with tempfile.TemporaryDirectory() as folder:
        one, two = Path(folder, "one"), Path(folder, "two")
        first = wheel(root, one)
        second = wheel(root, two, TZ="Asia/Kathmandu", LC_ALL="C", PYTHONHASHSEED="7")
        if first.name != second.name or first.read_bytes() != second.read_bytes():
            raise NotReproducible(
                f"{first.name}: two builds of one commit differ, so nothing is released"
            )
        out.mkdir(exist_ok=True)
        target = out / first.name
        target.write_bytes(first.read_bytes())
    bill = out / (target.name.removesuffix(".whl") + ".cdx.json")
    bill.write_bytes(materials(target, LOCK.read_text(), commit_time(root)))
    return target, bill


def locked(lock: str) -> dict[str, tuple[str, list[str], list[str]]]:
    """What a lock pins: name -> version, accepted SHA-256 digests, who asks for it (`# via`)."""
    found: dict[str, tuple[str, list[str], list[str]]] = {}
    name = ""
    for line in lock.splitlines():
        if pinned := _PINNED.match(line):
            name = pinned[1].lower()
            found[name] = (pinned[2], [], [])
        elif name and (digest := _HASH.search(line)):
            found[name][1].append(digest[1])
        elif (
            name
            and (
                via := re.match(r"^ +#(?: via)? +([A-Za-z0-9._-]+)(?: \(pyproject\.toml\))?$", line)
            )
            and via[1] != "via"
        ):
            found[name][2].append(via[1].lower())
    return found


def materials(built: Path, lock: str, moment: int) -> bytes:
    """The bill of materials of a wheel: the lock's packages, who needs whom, and the digests that
    an installation from the lock accepts.
    """
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion
    from packageurl import PackageURL

    name, version, *_ = built.name.split("-")
    digest = sha256(built.read_bytes())
    whole = Component(
        name=name,
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref=name,
        purl=PackageURL("pypi", None, name, version),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )
    pins = locked(lock)
    parts = {
        part: Component(
            name=part,
            version=pin,
            type=ComponentType.LIBRARY,
            bom_ref=part,
            purl=PackageURL("pypi", None, part, pin),
            properties=[
                Property(name=f"casemate:sha256:{place}", value=value)
                for place, value in enumerate(sorted(digests))
            ],
        )
        for part, (pin, digests, _) in pins.items()
    }
    bom = Bom(
        components=parts.values(), serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"sha256:{digest}")
    )
    bom.metadata.component = whole
    bom.metadata.timestamp = datetime.datetime.fromtimestamp(moment, datetime.UTC)
    for asker in [whole, *parts.values()]:
        bom.register_dependency(
            asker, [parts[part] for part, (_, _, via) in pins.items() if asker.name in via]
        )
    document = json.loads(
        make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string()
    )
    return json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"


def keys(folder: Path, passphrase: bytes) -> None:
    """Make the pair of a release; an existing one is never replaced."""
    signer = Signer.generate()
    folder.mkdir(mode=0o700, exist_ok=True)
    locks = serialization.BestAvailableEncryption(passphrase)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locks)
    for name, private in zip(PRIVATE, (signer.classical, signer.quantum), strict=True):
        with open(
            os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
        ) as file:
            file.write(private.private_bytes(*form))
    for name, pem in zip(KEYS, signer.verifier.pems, strict=True):
        (folder / name).write_bytes(pem)


def sign(folder: Path, passphrase: bytes, out: Path = DIST) -> Path:
    """One signature file over the wheel and the bill of materials that lie in `out`; exactly one of
    each.
    """
    files = sorted([*out.glob("*.whl"), *out.glob("*.cdx.json")])
    stems = {path.name.removesuffix(".whl").removesuffix(".cdx.json") for path in files}
    if (len(files), len(stems)) != (2, 1):
        raise SystemExit(
            f"{out} must hold one wheel and its bill of materials, and no other: empty it, then"
            " make wheel"
        )
    classical, quantum = (
        serialization.load_pem_private_key((folder / name).read_bytes(), passphrase)
        for name in PRIVATE
    )
    subjects = {path.name: sha256(path.read_bytes()) for path in files}
    target = out / (stems.pop() + ".dsse.json")
    target.write_bytes(
        Signer(classical, quantum).sign_statement(
            subjects, PREDICATE, {"commit": _git(ROOT, "rev-parse", "HEAD")}
        )
    )
    return target


def _passphrase() -> bytes:
    return (
        getpass.getpass("passphrase of the release keys: ")
        if sys.stdin.isatty()
        else sys.stdin.readline().rstrip("\n")
    ).encode()


def main(words: list[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("build")
    for verb in ("keys", "sign"):
        verbs.add_parser(verb).add_argument("folder", type=Path)
    taken = parser.parse_args(words)
    if taken.verb == "keys":
        keys(taken.folder, _passphrase())
        return 0
    for path in build() if taken.verb == "build" else [sign(taken.folder, _passphrase())]:
        print(f"{sha256(path.read_bytes())}  {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
