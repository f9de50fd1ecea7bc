"""Callers for whom somebody vouches beside the project's catalogue: those with client certificates,
where the gateway demands them, and workloads, where it believes issuers of theirs. Authorities and
issuers are made in the scratch copy, and gone with it.
"""

import base64
import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jwk, jws

from casemate.config import WorkloadTable
from casemate.controls.access.identity.tokens import TokenLimits
from casemate.controls.access.types import Principal
from casemate.controls.keys import certificates
from casemate.controls.keys.pki import Authority, Kind, create_authority
from casemate.core.digest import sha256
from casemate.core.files import make_folder
from casemate.supply.scanners.running import Identity, State
from casemate.wiring import Wiring

SECONDS = 3600
"""Life of a workload's token; nobody's scan takes so long."""
ROLE, OTHER = "client", "auditor"
"""What certificates and workloads stand for; what somebody else's token does."""
SHOWN, ISSUERS = "certificates", "issuers"
"""Folders of the copy: client certificates with their keys; issuers' public keys."""
CLIENT, OWN = "scan-shown", "scan"
"""The client whose certificate others show beside credentials of their own; the scan itself, whom
the gateway knows as nobody.
"""


def believed(tables: dict[str, WorkloadTable], count: int) -> dict[str, dict[str, Any]]:
    """`[access.workloads]` of the copy: the project's issuers, with keys that the scan makes.

    Args:
        tables: the project's.
        count: of workloads of each issuer.
    """
    return {
        name: {
            "issuer": table.issuer,
            "audience": table.audience,
            "keys": f"{ISSUERS}/{name}.json",
            "services": {
                f"scan:{number}:{one}": f"scan-workload-{number}-{one}" for one in range(count)
            },
        }
        for number, (name, table) in enumerate(tables.items())
    }


class Shown:
    """Client certificates of the copy's authority, and of none."""

    def __init__(self, project: Wiring, tx: sa.Connection) -> None:
        self.project, self.tx = project, tx
        self.root = make_folder(project.root / SHOWN)

    def _issued(self, name: str, kind: Kind = "client") -> str:
        """The folder of a new certificate."""
        _, chain, key = self.project.certificates.issue(self.tx, kind, [name], 1, "p256")
        return self._kept(f"{kind}-{name}", chain, key)

    def _kept(self, folder: str, chain: bytes, key: bytes) -> str:
        certificates.write(self.root / folder, chain, key, b"")
        return str(self.root / folder)

    def own(self) -> str:
        """The scan's: it lets connect, and stands for nobody."""
        return self._issued(OWN)

    def barred(self) -> dict[str, str]:
        """Those with which nobody may connect."""
        authority = self.project.keystore.authority
        # of the same name, as somebody would make it who wants to be believed
        foreign = Authority(*create_authority(self.project.config.project.id))
        revoked = self._issued("scan-revoked")
        pem = Path(revoked, "cert.pem").read_bytes()
        serial = format(x509.load_pem_x509_certificate(pem).serial_number, "x")
        self.project.certificates.revoke(self.tx, serial)
        return {
            "no client certificate": "",
            "a revoked client certificate": revoked,
            "a client certificate of another authority": self._kept(
                "foreign", *foreign.issue("client", [CLIENT], 1, "p256")
            ),
            # its last second is the one in which it is made
            "a client certificate that is over": self._kept(
                "over", *authority.issue("client", [CLIENT], 0, "p256")
            ),
            "a server's certificate": self._issued("localhost", "server"),
        }

    def identities(self, count: int) -> Iterator[Identity]:
        """Services that have certificates and no tokens, and tokens beside others' certificates.

        Args:
            count: of each kind.
        """
        tokens, group = self.project.point.tokens, f"{ROLE}'s certificate"
        for number in range(count):
            name = f"scan-certificate-{number}"
            tokens.register(self.tx, name, [ROLE], ["*"], by_certificate=True)
            yield _service(f"service by a {group}", name, ROLE, "", "good", self._issued(name))
        tokens.register(self.tx, CLIENT, [ROLE], ["*"], by_certificate=True)
        shown = self._issued(CLIENT)
        for number in range(count):
            name = f"scan-beside-{number}"
            token = self._token(name, OTHER)
            yield _service(f"service {OTHER} with a {group}", name, OTHER, token, "good", shown)
        pem = Path(self._issued("scan-bound"), "cert.pem").read_bytes()
        der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        # a token and a session that are bound to one certificate come with another one
        token = self._token("scan-bound", "owner", TokenLimits(certificate=sha256(der)))
        yield _service(
            f"service owner with a {group}", "scan-bound", "owner", token, "elsewhere", shown
        )
        point = self.project.point
        person = point.directory.add(self.tx, "scan-bound", ["owner"])
        session = point.sessions.begin(self.tx, "scan-bound", "password", certificate=sha256(der))
        yield Identity(
            group=f"user owner with a {group}", uid=person.uid, kind="User", roles=["owner"],
            state="elsewhere", token=session.access, certificate=shown,
        )  # fmt: skip
        nonsense = _stranger(f"nonsense with a {group}", "scan")
        yield msgspec.structs.replace(nonsense, state="nonsense", certificate=shown)
        name = "scan-token-alone"
        self._token(name, "owner")
        alone = _stranger("certificate of a service that needs a token", "")
        yield msgspec.structs.replace(alone, certificate=self._issued(name))

    def _token(self, name: str, role: str, limits: TokenLimits | None = None) -> str:
        life = datetime.timedelta(seconds=SECONDS)
        return self.project.point.tokens.create(self.tx, name, [role], ["*"], life, limits)[0]


class Issuers:
    """Of workloads' tokens: the project's, with keys that are made for the scan."""

    def __init__(self, project: Wiring, tx: sa.Connection) -> None:
        self.project, self.tx = project, tx
        self.now = int(project.clock.now().timestamp())

    def identities(self) -> Iterator[Identity]:
        """Workloads of every issuer, and forged ones of the first."""
        tables = self.project.config.access.workloads
        for number, (name, table) in enumerate(tables.items()):
            key = jwk.generate_key("EC", "P-256", {"kid": "scan", "use": "sig"})
            public = {"keys": [key.as_dict(private=False)]}
            file = self.project.root / str(table.keys)
            make_folder(file.parent)
            file.write_bytes(msgspec.json.encode(public))
            for subject, service in table.services.items():
                self.project.point.tokens.register(self.tx, service, [ROLE], ["*"])
                token = self._signed(key, table, sub=subject)
                yield _service(f"workload of {name}", service, ROLE, token, "good")
            if not number:
                yield from self._spoilt(name, table, key)

    def _spoilt(self, name: str, table: WorkloadTable, key: jwk.ECKey) -> Iterator[Identity]:
        subject, service = next(iter(table.services.items()))
        changes: Sequence[tuple[State, dict[str, object]]] = (
            # in order, but for the day: nothing else is wrong with it
            ("expired", {"iat": self.now - 2 * SECONDS, "exp": self.now - SECONDS}),
            ("elsewhere", {"aud": "scan:another-audience"}),
        )
        for state, change in changes:
            token = self._signed(key, table, sub=subject, **change)
            yield _service(f"workload of {name}", service, ROLE, token, state)
        foreign = jwk.generate_key("EC", "P-256", {"kid": "scan"})
        good = self._claims(table, sub=subject)
        forged = {
            "signed by somebody else": self._signed(foreign, table, sub=subject),
            "signed by nobody": _unsigned(good),
            "that is not valid yet": self._signed(
                key, table, sub=subject, nbf=self.now + SECONDS // 2
            ),
            "that stands for no service": self._signed(key, table, sub="scan:nobody"),
            "of an issuer that is not believed": self._signed(
                key, table, sub=subject, iss=f"{table.issuer}/scan"
            ),
        }
        for how, token in forged.items():
            yield _stranger(f"workload {how}", token)

    def _claims(self, table: WorkloadTable, **change: object) -> bytes:
        claims = {
            "iss": table.issuer,
            "aud": table.audience,
            "iat": self.now,
            "exp": self.now + SECONDS,
        }
        return msgspec.json.encode(claims | change)

    def _signed(self, key: jwk.ECKey, table: WorkloadTable, **change: object) -> str:
        header = {"alg": "ES256", "kid": "scan"}
        return jws.serialize_compact(header, self._claims(table, **change), key)


def _unsigned(claims: bytes) -> str:
    """RFC 7519, section 6: no signature, and it says so."""
    parts = (b'{"alg":"none","kid":"scan"}', claims)
    return ".".join([base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in parts]) + "."


def _service(
    group: str, name: str, role: str, token: str, state: State, certificate: str = ""
) -> Identity:
    uid = Principal("Service", name, ()).uid
    return Identity(
        group=group, uid=uid, kind="Service", roles=[role], state=state, token=token,
        certificate=certificate,
    )  # fmt: skip


def _stranger(group: str, token: str) -> Identity:
    return Identity(group=group, uid="", kind="", roles=[], state="unknown", token=token)
