"""SageMaker and CloudWatch, through boto3.

Credentials come from where boto3 finds them (role of the machine, web identity, profile), and are
never an argument.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from casemate.core.errors import BackendError, ConfigError, TransientError
from casemate.deploy.endpoint.requests import Request

CONNECT_SECONDS, READ_SECONDS, TRIES = 5, 30, 5
AWAY = (
    "ThrottlingException",
    "Throttling",
    "ServiceUnavailable",
    "InternalFailure",
    "InternalServerError",
    "RequestLimitExceeded",
)
DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
UNKNOWN = (
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
)


class Service:
    """One account in one region."""

    def __init__(self, region: str, account: str) -> None:
        """Who is asked.

        Args:
            region: such as `eu-central-1`.
            account: that credentials must be of.

        Raises:
            BackendError: `casemate[aws]` is not installed, or the account is another one.
        """
        try:
            import boto3
            from botocore.config import Config
        except ModuleNotFoundError:
            raise BackendError(
                "the AWS client is not installed", hint='pip install "casemate[aws]"'
            ) from None
        settings = Config(
            region_name=region,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "max_attempts": TRIES},
        )
        with self._translated("begin"):
            session = boto3.session.Session()
            self.sagemaker = session.client("sagemaker", config=settings)
            self.cloudwatch = session.client("cloudwatch", config=settings)
            sts = session.client("sts", config=settings)
        with self._translated("ask whose the credentials are"):
            found = str(sts.get_caller_identity()["Account"])
        if found != account:
            raise ConfigError(
                f"the credentials are of account {found}, [deploy.aws] names {account}",
                hint="take on the deployer's role of that account",
            )
        self.where = f"{account}/{region}"

    def describe(self, what: str, name: str) -> Request | None:
        """A `model`, `endpoint_config`, `endpoint`, `model_package_group`; None: there is none."""
        from botocore.exceptions import ClientError

        key = {
            "model": "ModelName",
            "endpoint_config": "EndpointConfigName",
            "endpoint": "EndpointName",
            "model_package_group": "ModelPackageGroupName",
        }[what]
        with self._translated(f"describe the {what} {name}"):
            try:
                found: Request = getattr(self.sagemaker, f"describe_{what}")(**{key: name})
            except ClientError as error:
                if _is_absent(error):
                    return None
                raise
        return found

    def do(self, verb: str, request: Request) -> Request:
        """One request to SageMaker, such as `create_model`."""
        with self._translated(verb.replace("_", " ")):
            answer: Request = getattr(self.sagemaker, verb)(**request)
        return answer

    def put_alarm(self, request: Request) -> None:
        """Make an alarm what the request says."""
        with self._translated("put an alarm"):
            self.cloudwatch.put_metric_alarm(**request)

    def alarms(self, names: list[str]) -> dict[str, Request]:
        """Alarms as they are, by name; those that are not there are not in it."""
        with self._translated("look at alarms"):
            found = self.cloudwatch.describe_alarms(AlarmNames=names)
        return {one["AlarmName"]: one for one in found.get("MetricAlarms", [])}

    @contextlib.contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

        try:
            yield
        except ClientError as error:
            raise _fault(doing, error) from None
        except ParamValidationError as error:
            raise ConfigError(
                f"SageMaker knows no such request ({doing}): {str(error)[:300]}",
                hint="casemate deploy check FOLDER",
            ) from None
        except BotoCoreError as error:
            raise TransientError(
                f"AWS was not reached ({doing}): {type(error).__name__}: {str(error)[:200]}",
                hint="see to credentials and network, then the same command again",
            ) from None


def _is_absent(error: Any) -> bool:
    told = error.response.get("Error", {})
    text = str(told.get("Message", "")).lower()
    is_absent = "could not find" in text or "does not exist" in text
    return told.get("Code") in ("ValidationException", "ResourceNotFound") and is_absent


def _fault(doing: str, error: Any) -> Exception:
    told = error.response.get("Error", {})
    code, text = str(told.get("Code")), str(told.get("Message"))[:300]
    if code in UNKNOWN:
        return BackendError(f"AWS does not know who asks ({code})", hint="log in again")
    if code in DENIED:
        return BackendError(
            f"AWS does not let these credentials {doing}: {text}",
            hint="take on the deployer's role: casemate deploy iam FOLDER",
        )
    if code in AWAY:
        return TransientError(f"AWS did not {doing} ({code})", hint="the same command again")
    return ConfigError(
        f"AWS refuses to {doing} ({code}): {text}", hint="casemate deploy check FOLDER"
    )
