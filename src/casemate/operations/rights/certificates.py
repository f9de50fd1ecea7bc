"""Certificates of erasure: what was seen when a request was closed, signed, with the proof that the
log says the same. They name nobody, not even by pseudonym.
"""

from pathlib import Path

import msgspec

from casemate.controls.audit.erasure import CERTIFICATE, PREDICATE, PROOF, Certified
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, RefusedError
from casemate.core.files import whole_folder
from casemate.operations.acting import operation
from casemate.operations.rights.register import REQUESTS
from casemate.respond.requests import states
from casemate.wiring import Wiring


@operation("request:handle")
def certificate(project: Wiring, number: int, folder: Path | str) -> Certified:
    """Write the certificate of an erasure that was closed to a new folder: whoever has the
    project's public keys checks it with `casemate verify FOLDER`, without the project.

    Args:
        project: whose.
        number: of the request.
        folder: a new one.

    Raises:
        AccessDenied: policy. ConfigError: the folder exists, or there is no such request.
            RefusedError: it is no erasure, or was not closed.
    """
    acting = certificate.ask(project, request=number)
    folder = Path(folder)
    if folder.exists():
        raise ConfigError(f"{folder} exists already", hint="name a new folder")
    with project.database.reading() as tx:
        asked, entries = REQUESTS.history(project, tx, number)
    if asked.state != "fulfilled" or asked.closing is None:
        raise RefusedError(
            f"request {number} is {asked.state}: a certificate is of an erasure that was closed",
            hint=f"casemate privacy request show {number}",
        )
    entry = next(one for one in entries if one.action == states.FULFILLED)
    proof = project.log.prove(entry.index)
    said = Certified(
        project=project.config.project.id,
        request=number,
        entry=entry.index,
        closed=asked.over or "",
        closing=msgspec.to_builtins(asked.closing),
    )
    signed = project.signer.sign_statement(
        {PROOF: sha256(proof)}, PREDICATE, msgspec.to_builtins(said)
    )
    with whole_folder(folder.absolute(), 0o755) as draft:
        (draft / PROOF).write_bytes(proof)
        (draft / CERTIFICATE).write_bytes(signed + b"\n")
    acting.record("erasure:certified", f'Certificate::"{number}"', entry=entry.index)
    return said
