"""What every key provider must do: the file one, OpenBao's Transit and AWS KMS."""

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from casemate.config import KeysTable
from casemate.controls.keys.aws import AwsKeys
from casemate.controls.keys.interface import PURPOSES
from casemate.controls.keys.secrets import secret_servers
from casemate.controls.keys.vault import VaultKeys
from casemate.core.errors import BackendError, ConfigError, Error, TransientError, VerificationError
from casemate.core.secrets import read_secret

DATA_KEY = bytes(range(32))


def project_of(provider):
    return provider.project if hasattr(provider, "project") else provider.document.project


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data_key=st.binary(min_size=16, max_size=64), key=st.sampled_from(PURPOSES))
def test_what_was_wrapped_comes_back(provider, data_key, key):
    wrapped = provider.wrap(key, data_key, "a table")
    assert data_key not in wrapped
    assert provider.unwrap(key, wrapped) == data_key
    assert provider.version_of(wrapped) == 1


def test_another_process_unwraps_it(provider, open_provider):
    wrapped = provider.wrap("objects", DATA_KEY)
    assert open_provider(project_of(provider)).unwrap("objects", wrapped) == DATA_KEY


def test_the_same_key_is_wrapped_differently_each_time(provider):
    assert provider.wrap("objects", DATA_KEY) != provider.wrap("objects", DATA_KEY)


def test_every_purpose_has_one_active_version_with_a_date(provider):
    versions = provider.versions()
    assert tuple(versions) == PURPOSES
    for found in versions.values():
        assert [(version.number, version.state) for version in found] == [(1, "active")]
        assert found[0].created.startswith("20")


def test_making_the_keys_again_changes_nothing(provider):
    wrapped = provider.wrap("objects", DATA_KEY)
    provider.prepare()
    assert provider.unwrap("objects", wrapped) == DATA_KEY
    assert len(provider.versions()["objects"]) == 1


def test_a_key_wrapped_for_another_purpose_is_refused(provider):
    wrapped = provider.wrap("sensitive", DATA_KEY)
    with pytest.raises(VerificationError, match="belongs to another key or project"):
        provider.unwrap("general", wrapped)


def test_a_key_wrapped_for_another_project_is_refused(provider, open_provider):
    other = open_provider("other")
    other.prepare()
    with pytest.raises(VerificationError, match="belongs to another key or project"):
        other.unwrap("objects", provider.wrap("objects", DATA_KEY))


def test_every_changed_byte_of_a_wrapped_key_is_refused(provider):
    wrapped = provider.wrap("objects", DATA_KEY)
    step = 1 if len(wrapped) < 100 else 7
    for at in range(0, len(wrapped), step):
        changed = bytearray(wrapped)
        changed[at] ^= 1
        with pytest.raises((VerificationError, BackendError)):
            provider.unwrap("objects", bytes(changed))
    for cut in (b"", wrapped[:5], wrapped[:-1], wrapped + b"A", b"\x09" + wrapped[1:]):
        with pytest.raises(VerificationError):
            provider.unwrap("objects", cut)


def test_after_a_rotation_new_keys_use_the_new_version_and_old_ones_still_open(provider):
    old = provider.wrap("objects", DATA_KEY)
    assert provider.rotate("objects") == 2
    new = provider.wrap("objects", DATA_KEY)
    assert (provider.version_of(old), provider.version_of(new)) == (1, 2)
    assert provider.unwrap("objects", old) == provider.unwrap("objects", new) == DATA_KEY
    assert [version.state for version in provider.versions()["objects"]] == [
        "decrypt-only",
        "active",
    ]
    assert [version.state for version in provider.versions()["footer"]] == ["active"]


def test_a_process_that_was_started_before_a_rotation_opens_what_was_wrapped_after_it(
    provider, open_provider
):
    early = open_provider(project_of(provider))
    early.wrap("objects", DATA_KEY)
    provider.rotate("objects")
    assert early.unwrap("objects", provider.wrap("objects", DATA_KEY)) == DATA_KEY


def test_rewrapping_moves_many_keys_to_the_new_version(provider):
    keys = [bytes([n % 256]) * 32 for n in range(25)]
    old = [provider.wrap("subjects", key) for key in keys]
    provider.rotate("subjects")
    new = provider.rewrap("subjects", old)
    assert {provider.version_of(item) for item in new} == {2}
    assert [provider.unwrap("subjects", item) for item in new] == keys
    broken = bytearray(old[3])
    broken[-3] ^= 1
    with pytest.raises(Error):
        provider.rewrap("subjects", [old[0], bytes(broken)])


def test_a_disabled_version_refuses_until_it_is_enabled(provider, open_provider):
    old = provider.wrap("objects", DATA_KEY)
    provider.rotate("objects")
    provider.disable("objects", 1)
    for somebody in (provider, open_provider(project_of(provider))):
        with pytest.raises(BackendError, match="version 1 is disabled"):
            somebody.unwrap("objects", old)
    assert [version.state for version in provider.versions()["objects"]] == ["disabled", "active"]
    assert provider.unwrap("objects", provider.wrap("objects", DATA_KEY)) == DATA_KEY
    provider.enable("objects", 1)
    assert provider.unwrap("objects", old) == DATA_KEY


def test_a_destroyed_version_refuses_for_ever(provider, open_provider):
    old = provider.wrap("objects", DATA_KEY)
    provider.rotate("objects")
    provider.destroy("objects", 1)
    for somebody in (provider, open_provider(project_of(provider))):
        with pytest.raises(BackendError, match="version 1 is destroyed"):
            somebody.unwrap("objects", old)
    assert provider.versions()["objects"][0].state == "destroyed"
    with pytest.raises((ConfigError, BackendError)):
        provider.enable("objects", 1)
        provider.unwrap("objects", old)


def test_the_active_version_is_never_destroyed(provider):
    with pytest.raises(ConfigError, match="is the active one"):
        provider.destroy("objects", 1)


@pytest.mark.parametrize("operation", ["disable", "enable", "destroy"])
def test_a_version_that_never_existed_is_named(provider, operation):
    with pytest.raises(ConfigError, match=r"no version 7|is the active one"):
        getattr(provider, operation)("objects", 7)


def test_the_provider_shows_no_secret_of_itself(provider):
    assert "TOKEN" not in repr(provider)
    assert len(repr(provider)) < 200


def test_secrets_come_from_vault_when_they_are_needed(openbao, monkeypatch):
    monkeypatch.setenv("TEST_VAULT_TOKEN", openbao.token)
    servers = secret_servers(KeysTable(address=openbao.address, secret="env:TEST_VAULT_TOKEN"))
    with contextlib.suppress(OSError):
        openbao.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    openbao.call("POST", "secret/data/casemate/db", {"data": {"password": "first", "port": 7}})
    assert read_secret("vault:secret/casemate/db#password", servers) == "first"
    openbao.call("POST", "secret/data/casemate/db", {"data": {"password": "second"}})
    assert read_secret("vault:secret/casemate/db#password", servers) == "second"
    for wrong in (
        "vault:secret/casemate/db#none",
        "vault:secret/casemate/none#password",
        "vault:db",
        "vault:secret/../x#y",
    ):
        with pytest.raises(ConfigError):
            read_secret(wrong, servers)
    monkeypatch.setenv("TEST_VAULT_TOKEN", "s.nobody")
    with pytest.raises(BackendError, match="denied"):
        read_secret("vault:secret/casemate/db#password", servers)


def test_secrets_come_from_aws_secrets_manager(aws):
    import boto3

    made = boto3.client("secretsmanager", region_name="eu-central-1", endpoint_url=aws.endpoint)
    made.create_secret(Name="casemate/plain", SecretString="first")
    made.create_secret(Name="casemate/json", SecretString='{"password": "second"}')
    servers = secret_servers(KeysTable(region="eu-central-1", endpoint=aws.endpoint))
    assert read_secret("aws-sm:casemate/plain", servers) == "first"
    assert read_secret("aws-sm:casemate/json#password", servers) == "second"
    for wrong in ("aws-sm:casemate/none", "aws-sm:casemate/json#none"):
        with pytest.raises(ConfigError):
            read_secret(wrong, servers)
    with pytest.raises(BackendError, match="is not a JSON object"):
        read_secret("aws-sm:casemate/plain#password", servers)


def test_disabling_an_older_version_enables_nothing_and_enabling_a_newer_one_disables_nothing(
    provider,
):
    for _ in range(3):
        provider.rotate("objects")
    states = lambda: [version.state for version in provider.versions()["objects"]]  # noqa: E731
    provider.enable("objects", 3)
    assert states() == ["decrypt-only"] * 3 + ["active"]
    provider.disable("objects", 2)
    provider.disable("objects", 1)
    assert states() == ["disabled", "disabled", "decrypt-only", "active"]
    provider.enable("objects", 3)
    assert states() == ["disabled", "disabled", "decrypt-only", "active"]


def test_a_version_that_another_process_disabled_or_destroyed_is_refused_at_once(
    provider, open_provider
):
    early = open_provider(project_of(provider))
    old = early.wrap("objects", DATA_KEY)
    assert early.unwrap("objects", old) == DATA_KEY
    provider.rotate("objects")
    provider.destroy("objects", 1)
    # KMS and Vault refuse by themselves; moto's KMS does not, AWS does
    if hasattr(early, "document"):
        with pytest.raises(BackendError, match="version 1 is destroyed"):
            early.unwrap("objects", old)
        assert early.version_of(early.wrap("objects", DATA_KEY)) == 2


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("ThrottlingException", TransientError),
        ("KMSInternalException", TransientError),
        ("InvalidCiphertextException", VerificationError),
        ("AccessDeniedException", BackendError),
    ],
)
def test_a_fault_of_aws_is_not_taken_for_tampering(aws, monkeypatch, code, fault):
    from botocore.exceptions import ClientError

    keys = AwsKeys(KeysTable(region="eu-central-1", endpoint=aws.endpoint), "faults")
    keys.prepare()
    wrapped = keys.wrap("objects", DATA_KEY)

    def fail(**_words):
        raise ClientError({"Error": {"Code": code}}, "Decrypt")

    monkeypatch.setattr(keys._client, "decrypt", fail)
    with pytest.raises(fault):
        keys.unwrap("objects", wrapped)


def test_a_wrong_mount_and_a_wrong_login_are_named(openbao, monkeypatch):
    monkeypatch.setenv("TEST_VAULT_TOKEN", openbao.token)
    wrong = VaultKeys(
        KeysTable(
            provider="vault", address=openbao.address, secret="env:TEST_VAULT_TOKEN", mount="nosuch"
        ),
        "p",
    )
    for call in (
        wrong.prepare,
        wrong.versions,
        lambda: wrong.rotate("objects"),
        lambda: wrong.wrap("objects", DATA_KEY),
    ):
        with pytest.raises(BackendError):
            call()
    stranger = VaultKeys(
        KeysTable(
            provider="vault",
            address=openbao.address,
            auth="approle",
            role="x",
            secret="env:TEST_VAULT_TOKEN",
        ),
        "p",
    )
    with pytest.raises(BackendError, match="login was refused|denied"):
        stranger.wrap("objects", DATA_KEY)
