"""Verify a release before it is installed; needs the package `cryptography` (48 or newer), and
nothing of casemate.

    python check.py casemate-VERSION-py3-none-any.dsse.json release.pub release-mldsa65.pub

The public keys must come from a place that you trust already, not from beside the files. Every file
that the signature names must lie beside it with the digest that was signed, and both signatures
must hold. Exit 0: verified; 1: not.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.serialization import load_pem_public_key

KIND = "application/vnd.in-toto+json"


def check(signature: Path, classical: Path, quantum: Path) -> dict[str, str]:
    """Names and digests of the files that were verified.

    Raises:
        InvalidSignature: a signature does not hold, or a file is missing or another one than was
            signed.
    """
    envelope = json.loads(signature.read_bytes())
    payload = base64.b64decode(envelope["payload"], validate=True)
    first, second = (
        base64.b64decode(item["sig"], validate=True) for item in envelope["signatures"]
    )
    # github.com/secure-systems-lab/dsse
    message = b"DSSEv1 %d %b %d %b" % (len(KIND), KIND.encode(), len(payload), payload)
    load_pem_public_key(classical.read_bytes()).verify(first, message, ECDSA(hashes.SHA256()))
    load_pem_public_key(quantum.read_bytes()).verify(second, message)
    found = {item["name"]: item["digest"]["sha256"] for item in json.loads(payload)["subject"]}
    if not found:
        raise InvalidSignature("the signature names no files")
    for name, digest in found.items():
        path = signature.parent / Path(name).name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise InvalidSignature(f"{name} is missing or was changed")
    return found


if __name__ == "__main__":
    try:
        for file, sha in check(*map(Path, sys.argv[1:4])).items():
            print(f"verified {file} {sha}")
    except (InvalidSignature, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        sys.exit(f"NOT VERIFIED: {error or 'a signature does not match its content and key'}")
