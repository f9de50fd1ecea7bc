"""The AWS provider: KEKs in AWS KMS (https://docs.aws.amazon.com/kms/latest/APIReference/).

One symmetric KMS key per project, purpose and version, found by its alias
`alias/casemate/PROJECT/PURPOSE/vN`, so that a version can be disabled and destroyed by itself.
Every call carries the encryption context project and purpose, which IAM policies can demand. A
wrapped key: byte 4, 4-byte version, KMS ciphertext. Destroying schedules deletion in seven days,
the least that KMS allows; the key refuses at once. Tested against moto's server, not against AWS
itself.
"""

import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

from casemate.config import KeysTable
from casemate.controls.keys.interface import PURPOSES, KeyVersion, State
from casemate.core.errors import BackendError, ConfigError, TransientError, VerificationError

FORMAT = b"\x04"
# the least that KMS takes; nothing can be used meanwhile, and AWS can still undo it
DELETION_DAYS = 7
ENDED = {
    "ExpiredTokenException",
    "ExpiredToken",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
}
"""What credentials are refused with that were good once: read anew once."""
DENIED = {
    "AccessDeniedException",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    *ENDED,
}
WRONG = {
    "InvalidCiphertextException",
    "IncorrectKeyException",
    "ResourceNotFoundException",
    "NotFoundException",
}
"""What means that something else was asked for than what was made."""
UNUSABLE = {"DisabledException", "KMSInvalidStateException"}
T = TypeVar("T")


class AwsKeys:
    """A `KeyKeeper` in AWS KMS."""

    def __init__(self, table: KeysTable, project: str) -> None:
        self.table = table
        self.project = project
        self._known: dict[str, dict[int, tuple[str, State, str]]] | None = None

    def __repr__(self) -> str:
        return f"AwsKeys({self.project!r})"

    @cached_property
    def _client(self) -> Any:
        return self._client_of("kms")

    def _client_of(self, service: str) -> Any:
        try:
            import boto3
            import botocore.config
            import botocore.exceptions
        except ImportError as error:
            raise BackendError(
                "the AWS client is not installed", hint='pip install "casemate[aws]"'
            ) from error
        patience = botocore.config.Config(
            connect_timeout=self.table.timeout,
            read_timeout=self.table.timeout,
            retries={"max_attempts": 2},
        )
        try:
            # a session of its own: the default one keeps the credentials that it found first
            return boto3.session.Session().client(
                service,
                region_name=self.table.region,
                endpoint_url=self.table.endpoint or None,
                config=patience,
            )
        except botocore.exceptions.BotoCoreError as error:
            raise BackendError(
                f"AWS cannot be used: {error}", hint="set [keys] region and the AWS credentials"
            ) from error

    def secret(self, name: str) -> str:
        """A text of AWS Secrets Manager; ConfigError when there is none."""
        try:
            return str(
                self._call("get_secret_value", self._client_of("secretsmanager"), SecretId=name)[
                    "SecretString"
                ]
            )
        except (_Refused, KeyError) as error:
            raise ConfigError(
                f"AWS Secrets Manager has no text called {name!r}", hint="check name and region"
            ) from error

    def _call(self, name: str, client: Any = None, **words: Any) -> Any:
        own = client is None
        client = client or self._client
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(client, name)(**words)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in ENDED and own and self._read_anew():
                return self._call(name, **words)
            if code in DENIED:
                raise BackendError(
                    f"AWS denied {name}: {code}",
                    hint="the key policy and the IAM policy must allow it to this user",
                ) from error
            if code in UNUSABLE:
                raise BackendError(
                    "AWS KMS: the key is disabled or awaits deletion", hint="`casemate keys list`"
                ) from error
            if code in WRONG:
                raise _Refused(code) from error
            raise TransientError(
                f"AWS refused {name}: {code}",
                hint="see its message in CloudTrail; the same command may be run again",
            ) from error
        except BotoCoreError as error:
            raise TransientError(
                f"AWS is not available: {type(error).__name__}",
                hint="see network, region and credentials",
            ) from error

    def _read_anew(self) -> bool:
        """Look for newer credentials where the SDK finds them; whether there are other ones."""
        before = self._client._request_signer._credentials  # noqa: SLF001 - botocore does not say it elsewhere
        del self._client
        after = self._client._request_signer._credentials  # noqa: SLF001
        if after is None or before is None or after.access_key == before.access_key:
            return False
        print(
            "casemate: AWS refused the credentials; using those that replaced them",
            file=sys.stderr,
            flush=True,
        )
        return True

    def _context(self, key: str) -> dict[str, str]:
        return {"casemate:project": self.project, "casemate:purpose": key}

    def _alias(self, key: str, version: int) -> str:
        return f"alias/casemate/{self.project}/{key}/v{version}"

    def _keys(self, *, anew: bool = False) -> dict[str, dict[int, tuple[str, State, str]]]:
        if self._known is None or anew:
            self._known = self._look()
        return self._known

    def _look(self) -> dict[str, dict[int, tuple[str, State, str]]]:
        prefix = f"alias/casemate/{self.project}/"
        found: dict[str, dict[int, tuple[str, State, str]]] = {}
        words: dict[str, Any] = {}
        while True:
            page = self._call("list_aliases", **words)
            for alias in page["Aliases"]:
                key, _, version = str(alias["AliasName"]).removeprefix(prefix).partition("/v")
                if (
                    alias["AliasName"].startswith(prefix)
                    and key in PURPOSES
                    and version.isdigit()
                    and "TargetKeyId" in alias
                ):
                    found.setdefault(key, {})[int(version)] = self._describe(alias["TargetKeyId"])
            if not page.get("Truncated"):
                break
            words = {"Marker": page["NextMarker"]}
        for versions in found.values():
            newest = max(versions)
            if versions[newest][1] == "decrypt-only":
                versions[newest] = (versions[newest][0], "active", versions[newest][2])
        return found

    def _describe(self, identifier: str) -> tuple[str, State, str]:
        about = self._call("describe_key", KeyId=identifier)["KeyMetadata"]
        states: dict[str, State] = {
            "Enabled": "decrypt-only",
            "Disabled": "disabled",
            "PendingDeletion": "destroyed",
        }
        return (
            about["KeyId"],
            states.get(about["KeyState"], "disabled"),
            about["CreationDate"].isoformat(),
        )

    def _usable(self, key: str, version: int, *allowed: State) -> str:
        known = self._keys()
        if version not in known.get(key, {}):
            known = self._keys(anew=True)  # another process may have rotated
        identifier, state, _ = known.get(key, {}).get(version, ("", "destroyed", ""))
        if state not in allowed:
            hint = (
                f"`casemate keys enable {key} {version}` allows it again"
                if state == "disabled"
                else "what it protected is lost"
            )
            raise BackendError(f"the key {key!r} version {version} is {state}", hint=hint)
        return identifier

    def _newest(self, key: str) -> int:
        known = self._keys().get(key)
        if not known:
            raise BackendError(
                f"AWS KMS has no key {self._alias(key, 1)!r}",
                hint="`casemate store upgrade` adds what this version needs",
            )
        return max(known)

    def wrap(self, key: str, data_key: bytes, resource: str = "") -> bytes:
        """See `KeyProvider.wrap`."""
        version = self._newest(key)
        identifier = self._usable(key, version, "active")
        made = self._asked(
            key,
            lambda: self._call(
                "encrypt",
                KeyId=identifier,
                Plaintext=data_key,
                EncryptionContext=self._context(key),
            ),
        )
        return FORMAT + version.to_bytes(4, "big") + bytes(made["CiphertextBlob"])

    def unwrap(self, key: str, wrapped: bytes, resource: str = "") -> bytes:
        """See `KeyProvider.unwrap`."""
        identifier = self._usable(key, self.version_of(wrapped), "active", "decrypt-only")
        context = self._context(key)
        made = self._asked(
            key,
            lambda: self._call(
                "decrypt", KeyId=identifier, CiphertextBlob=wrapped[5:], EncryptionContext=context
            ),
        )
        return bytes(made["Plaintext"])

    @staticmethod
    def _asked(key: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except _Refused as error:
            raise VerificationError(
                f"a key wrapped under {key!r} was changed, or belongs to another key or project"
                f" ({error})",
                hint="restore what holds it from a backup",
            ) from error

    def rewrap(self, key: str, wrapped: list[bytes]) -> list[bytes]:
        """See `KeyProvider.rewrap`; the data keys never leave KMS (ReEncrypt)."""
        newest, context = self._newest(key), self._context(key)
        target = self._usable(key, newest, "active")
        made = []
        for item in wrapped:
            source = self._usable(key, self.version_of(item), "active", "decrypt-only")
            words = {
                "CiphertextBlob": item[5:],
                "SourceKeyId": source,
                "SourceEncryptionContext": context,
            }
            words |= {"DestinationKeyId": target, "DestinationEncryptionContext": context}
            answer = self._asked(key, lambda words=words: self._call("re_encrypt", **words))  # type: ignore[misc]
            made.append(FORMAT + newest.to_bytes(4, "big") + bytes(answer["CiphertextBlob"]))
        return made

    @property
    def login_state(self) -> None:
        """See `KeyKeeper.login_state`; the AWS SDK renews what it has borrowed."""
        return

    def prepare(self) -> None:
        """See `KeyKeeper.prepare`."""
        known = self._keys(anew=True)
        for key in PURPOSES:
            if key not in known:
                self._create(key, 1)
        self._keys(anew=True)

    def _create(self, key: str, version: int) -> None:
        tags = [{"TagKey": name, "TagValue": value} for name, value in self._context(key).items()]
        made = self._call(
            "create_key",
            Description=f"casemate {self.project} {key} v{version}",
            KeySpec="SYMMETRIC_DEFAULT",
            Tags=tags,
        )
        self._call(
            "create_alias",
            AliasName=self._alias(key, version),
            TargetKeyId=made["KeyMetadata"]["KeyId"],
        )

    def versions(self) -> dict[str, list[KeyVersion]]:
        """See `KeyKeeper.versions`."""
        return {
            key: [
                KeyVersion(number=number, state=state, created=created)
                for number, (_, state, created) in sorted(versions.items())
            ]
            for key, versions in sorted(
                self._keys(anew=True).items(), key=lambda item: PURPOSES.index(item[0])
            )
        }

    def version_of(self, wrapped: bytes) -> int:
        """See `KeyKeeper.version_of`."""
        if wrapped[:1] != FORMAT or not 40 < len(wrapped) < 8192:
            raise VerificationError(
                "a wrapped key is malformed, or another key provider wrapped it",
                hint=(
                    "if [keys] provider was changed, `casemate keys migrate` moves a project"
                    " between providers"
                ),
            )
        return int.from_bytes(wrapped[1:5], "big")

    def rotate(self, key: str) -> int:
        """See `KeyKeeper.rotate`."""
        self._keys(anew=True)
        version = self._newest(key) + 1
        self._create(key, version)
        self._keys(anew=True)
        return version

    def disable(self, key: str, version: int) -> None:
        """See `KeyKeeper.disable`."""
        self._each(
            key,
            version,
            "disable_key",
            lambda number, state: number <= version and state in {"active", "decrypt-only"},
        )

    def enable(self, key: str, version: int) -> None:
        """See `KeyKeeper.enable`."""
        self._each(
            key,
            version,
            "enable_key",
            lambda number, state: number >= version and state == "disabled",
        )

    def destroy(self, key: str, version: int) -> None:
        """See `KeyKeeper.destroy`."""
        if version >= self._newest(key):
            raise ConfigError(
                f"version {version} of {key!r} is the active one",
                hint=f"`casemate keys rotate {key}` first",
            )
        choose = lambda number, state: number <= version and state != "destroyed"  # noqa: E731
        self._each(key, version, "schedule_key_deletion", choose, PendingWindowInDays=DELETION_DAYS)

    def _each(
        self, key: str, version: int, call: str, choose: Callable[[int, State], bool], **words: Any
    ) -> None:
        known = self._keys(anew=True).get(key, {})
        if version not in known:
            raise ConfigError(
                f"there is no version {version} of the key {key!r}", hint="`casemate keys list`"
            )
        for number, (identifier, state, _) in known.items():
            if choose(number, state):
                self._call(call, KeyId=identifier, **words)
        self._keys(anew=True)


class _Refused(BackendError):
    """KMS understood and said no; its error code."""
