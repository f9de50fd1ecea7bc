"""Client certificates: who has none, a foreign one, one for servers or a revoked one does not get
in, or no longer.
"""

import asyncio
import datetime
import http.client
import json
import shutil
import ssl
import subprocess

import pytest
import tomlkit
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mldsa
from cryptography.x509.verification import PolicyBuilder
from cryptography.x509.verification import Store as Anchors
from tests.attacks.test_gateway import new_token
from tests.conftest import serving, wait_for

import casemate
from casemate.controls.keys import certificates
from casemate.controls.keys.pki import Authority, create_authority
from casemate.core.errors import ConfigError, RefusedError
from casemate.serve.health import Health
from casemate.serve.http import Revocations
from casemate.serve.metrics import Metrics

REFUSED = (ssl.SSLError, ConnectionError, http.client.HTTPException, OSError)


@pytest.fixture
def project(clinic):
    path = clinic / "casemate.toml"
    document = tomlkit.parse(path.read_text())
    document["serve"]["client_certificates"] = "require"
    path.write_text(tomlkit.dumps(document))
    return casemate.open(clinic)


@pytest.fixture
def issue(project, cli, tmp_path):
    """(serial, folder) of a new certificate."""

    def make(kind="client", name="ward-7", *more):
        folder = tmp_path / f"{kind}-{name}"
        answer = cli(
            "keys",
            "certificate",
            "issue",
            kind,
            name,
            "--out",
            folder,
            "--config",
            project.root,
            "--format",
            "json",
            *more,
        )
        assert answer.code == 0, answer.err
        return json.loads(answer.out)["serial"], folder

    return make


def connect(running, folder=None):
    context = ssl.create_default_context(cafile=str(running.ca))
    if folder:
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return http.client.HTTPSConnection("127.0.0.1", running.port, context=context, timeout=20)


def ask(connection, token):
    connection.request("GET", "/v2", headers={"Authorization": f"Bearer {token}"})
    reply = connection.getresponse()
    reply.read()
    return reply.status


def test_only_a_valid_client_certificate_of_this_project_gets_in(project, issue, tmp_path):
    token, _ = new_token(project)
    _, good = issue()
    _, node = issue("node", "worker-1")
    _, server = issue("server", "other.example.org")
    foreign = tmp_path / "foreign"
    stranger = Authority(*create_authority("stranger"))
    certificates.write(foreign, *stranger.issue("client", ["ward-7"], 30, "p256"), stranger.pem)
    with serving(project.root) as running:
        assert ask(connect(running, good), token) == 200
        assert ask(connect(running, node), token) == 200
        for folder in (None, server, foreign):
            with pytest.raises(REFUSED):
                ask(connect(running, folder), token)
        assert ask(connect(running, good), "cm_none") == 401


def test_a_revoked_certificate_ends_open_connections_and_opens_no_new_ones(project, issue, cli):
    token, _ = new_token(project)
    serial, folder = issue()
    _, other = issue("client", "ward-8")
    with serving(project.root) as running:
        connection, untouched = connect(running, folder), connect(running, other)
        assert ask(connection, token) == ask(untouched, token) == 200
        assert cli("keys", "certificate", "revoke", serial, "--config", project.root).code == 0

        def ended():
            try:
                return ask(connection, token) != 200
            except REFUSED:
                return True

        wait_for(ended)
        with pytest.raises(REFUSED):
            ask(connect(running, folder), token)
        assert ask(connect(running, other), token) == 200
    refused = [entry for entry in project.log.entries() if entry.action == "gateway:connect"]
    assert {(entry.principal, entry.outcome) for entry in refused} == {
        (f'Certificate::"{serial}"', "denied")
    }
    assert cli("keys", "certificate", "revoke", serial, "--config", project.root).code == 2


def test_a_stolen_token_is_refused_without_the_certificate_that_it_is_bound_to(
    project, issue, cli, tmp_path
):
    _, mine = issue("client", "ward-7")
    _, thief = issue("client", "ward-8")
    words = (
        "access",
        "token",
        "create",
        "bound",
        "--certificate",
        mine / "cert.pem",
        "--out",
        tmp_path / "token",
        "--config",
        project.root,
    )
    assert cli(*words).code == 0
    token = (tmp_path / "token").read_text().strip()
    with serving(project.root) as running:
        assert ask(connect(running, mine), token) == 200
        assert ask(connect(running, thief), token) == 401
        assert ask(connect(running, mine), token) == 200
    refused = [
        entry for entry in project.log.entries() if entry.detail.get("reason") == "elsewhere"
    ]
    assert [entry.principal for entry in refused] == ['Service::"bound"']
    assert (
        cli(
            *words[:-4],
            "--out",
            tmp_path / "t2",
            "--certificate",
            tmp_path / "token",
            "--config",
            project.root,
        ).code
        == 2
    )


def ask_without_token(connection, path="/v2/models/wdbc"):
    connection.request("GET", path)
    reply = connection.getresponse()
    reply.read()
    return reply.status


def test_a_certificate_stands_for_the_service_of_its_name_and_for_nobody_else(project, issue, cli):
    admin = project.access
    admin.add_service("ward-7", ["client"], ["wdbc"], by_certificate=True)
    admin.add_service("ward-8", ["client"], ["wdbc"])
    (serial, mine), (_, other), (_, stranger) = (
        issue("client", "ward-7"),
        issue("client", "ward-8"),
        issue("client", "ward-9"),
    )
    _, node = issue("node", "ward-7")
    with serving(project.root) as running:
        connection = connect(running, mine)
        assert ask_without_token(connection) == 200
        assert ask_without_token(connection, "/metrics") == 403
        for folder in (other, stranger, node):
            assert ask_without_token(connect(running, folder)) == 401
        assert ask(connection, "cm_none") == 401  # a bad token is not made good by a certificate
        admin.remove_service("ward-7")
        wait_for(lambda: ask_without_token(connection) == 401, 2)
        # who holds that one would be the service at once
        with pytest.raises(ConfigError, match=serial):
            admin.add_service("ward-7", ["client"], ["wdbc"], by_certificate=True)
        assert cli("keys", "certificate", "revoke", serial, "--config", project.root).code == 0
        admin.add_service("ward-7", ["client"], ["wdbc"], by_certificate=True)
        with pytest.raises(REFUSED):
            wait_for(lambda: ask_without_token(connection) != 200, 2)
            ask_without_token(connect(running, mine))


def test_only_who_may_register_services_issues_a_certificate_that_stands_for_one(
    project, cli, tmp_path, monkeypatch
):
    project.access.add_service("ward-7", ["client"], ["wdbc"], by_certificate=True)
    project.access.add_user("ops", ["operator"], "correct horse battery")
    project.logins.login("ops", "correct horse battery", None)
    try:
        answer = cli(
            "keys",
            "certificate",
            "issue",
            "client",
            "ward-7",
            "--out",
            tmp_path / "c",
            "--config",
            project.root,
        )
        assert (answer.code, "access:service" in answer.err) == (3, True)
        assert not (tmp_path / "c").exists()
        assert (
            cli(
                "keys",
                "certificate",
                "issue",
                "client",
                "ward-6",
                "--out",
                tmp_path / "d",
                "--config",
                project.root,
            ).code
            == 0
        )
    finally:
        project.logins.logout()


def test_services_are_registered_from_the_command_line(project, cli):
    words = ("access", "service", "add", "ward-7", "--model", "wdbc", "--config", project.root)
    assert "certificate issue client ward-7" in cli(*words, "--certificate").out
    assert cli(*words).code == 2
    assert (
        cli(
            "access", "token", "create", "ward-7", "--role", "monitor", "--config", project.root
        ).code
        == 2
    )
    assert (
        cli("access", "token", "create", "ward-7", "--model", "wdbc", "--config", project.root).code
        == 0
    )
    assert cli("access", "service", "add", "bad name", "--config", project.root).code == 2
    assert (
        cli("access", "service", "add", "x", "--role", "nonsense", "--config", project.root).code
        == 2
    )


def test_predict_uses_a_client_certificate(project, issue, cli, tmp_path):
    _, folder = issue()
    with serving(project.root) as running:
        words = (
            "predict",
            project.root / "data" / "wdbc.csv",
            "--url",
            running.url,
            "--config",
            project.root,
        )
        answer = cli(*words, "--certificate", folder, "--out", tmp_path / "out.csv")
        assert answer.code == 0, answer.err
        assert cli(*words).code == 5
        assert cli(*words, "--certificate", tmp_path).code == 2


def test_the_revocation_list_is_one_that_openssl_reads(project, issue, cli, tmp_path):
    revoked, folder = issue()
    _, good = issue("client", "ward-8")
    assert cli("keys", "certificate", "revoke", revoked, "--config", project.root).code == 0
    crl = tmp_path / "crl.pem"
    assert cli("keys", "certificate", "crl", "--out", crl, "--config", project.root).code == 0
    parsed = x509.load_pem_x509_crl(crl.read_bytes())
    assert parsed.is_signature_valid(project.keystore.authority.certificate.public_key())
    assert [format(entry.serial_number, "x") for entry in parsed] == [revoked]
    for where, code in ((good, 0), (folder, 2)):
        words = [
            "openssl",
            "verify",
            "-crl_check",
            "-CAfile",
            where / "ca.pem",
            "-CRLfile",
            crl,
            where / "cert.pem",
        ]
        assert subprocess.run(words, capture_output=True, check=False).returncode == code


def test_a_certificate_is_renewed_at_two_thirds_of_its_life_and_not_when_revoked_or_expired(
    project, issue, cli, monkeypatch
):
    _, folder = issue("node", "worker-1")
    before = (folder / "cert.pem").read_bytes()
    words = ("keys", "certificate", "renew", folder, "--config", project.root)
    assert "nothing to do" in cli(*words).out
    assert (folder / "cert.pem").read_bytes() == before
    certificate = x509.load_pem_x509_certificate(before)
    later = (
        certificate.not_valid_before_utc
        + (certificate.not_valid_after_utc - certificate.not_valid_before_utc) * 0.7
    )
    assert certificates.due(folder, later, project.keystore.authority)[1]
    with pytest.raises(RefusedError, match="expired"):
        certificates.due(
            folder,
            certificate.not_valid_after_utc + datetime.timedelta(days=1),
            project.keystore.authority,
        )
    monkeypatch.setattr("casemate.core.clock.SystemClock.now", lambda _self: later)
    assert cli(*words).code == 0
    fresh = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
    assert fresh.serial_number != certificate.serial_number
    assert fresh.subject == certificate.subject
    assert (
        cli(
            "keys",
            "certificate",
            "revoke",
            format(fresh.serial_number, "x"),
            "--config",
            project.root,
        ).code
        == 0
    )
    assert cli(*words).code == 1


def test_only_the_holder_of_a_certificate_of_this_project_renews_it(project, issue, cli, tmp_path):
    serial, folder = issue("client", "ward-7")
    forged = tmp_path / "forged"
    shutil.copytree(folder, forged)
    words = ("keys", "certificate", "renew", forged, "--config", project.root)
    other = ec.generate_private_key(ec.SECP256R1())
    pem = other.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (forged / "key.pem").write_bytes(pem)
    assert "not the certificate's" in cli(*words).err
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=300)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(other.public_key())
        .serial_number(int(serial, 16))
    )
    made = (
        made.not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=390))
        .sign(other, hashes.SHA256())
    )
    (forged / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    answer = cli(*words)
    assert (answer.code, "not of this project" in answer.err) == (4, True)
    (forged / "key.pem").unlink()
    assert cli(*words).code == 2


def test_an_mldsa_65_certificate_verifies_under_the_authority(project, issue):
    _, folder = issue("server", "pq.example.org", "--algorithm", "mldsa65")
    certificate = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
    assert isinstance(certificate.public_key(), mldsa.MLDSA65PublicKey)
    certificate.verify_directly_issued_by(project.keystore.authority.certificate)
    anchors = PolicyBuilder().store(Anchors([project.keystore.authority.certificate]))
    plain = issue("server", "p256.example.org")[1]
    leaf = x509.load_pem_x509_certificate((plain / "cert.pem").read_bytes())
    assert anchors.build_server_verifier(x509.DNSName("p256.example.org")).verify(leaf, [])


def test_impossible_certificates_are_refused_and_leave_nothing(project, cli, tmp_path):
    for more in (
        ("client", "a", "--days", "0"),
        ("client", "a", "--days", "9999"),
        ("client", "a b"),
        ("client", ""),
        ("server", "müller"),
    ):
        answer = cli(
            "keys", "certificate", "issue", *more, "--out", tmp_path / "x", "--config", project.root
        )
        assert answer.code == 2, answer.err
    assert not (tmp_path / "x").exists()
    (tmp_path / "y").mkdir()
    assert (
        cli(
            "keys",
            "certificate",
            "issue",
            "client",
            "a",
            "--out",
            tmp_path / "y",
            "--config",
            project.root,
        ).code
        == 2
    )
    assert cli("keys", "certificate", "renew", tmp_path / "y", "--config", project.root).code == 2
    assert cli("keys", "certificate", "revoke", "ffff", "--config", project.root).code == 2
    with pytest.raises(ConfigError):
        certificates.write(tmp_path / "y", b"", b"", b"")


def test_without_a_list_of_revocations_nobody_gets_in_after_a_while():
    class Audit:
        def append(self, *_):
            pass

    looks = [frozenset()]
    watch = Revocations(lambda: looks.pop(), Audit())  # noqa: PLW0108 - an empty list raises
    watch.LOOK_SECONDS = 0.001
    watch.BLIND_SECONDS = 0.01

    async def run():
        task = asyncio.create_task(watch.watch([], Health(Metrics())))
        assert not watch.refuses(7)
        await asyncio.sleep(0.5)
        task.cancel()

    asyncio.run(run())
    assert watch.refuses(7)
