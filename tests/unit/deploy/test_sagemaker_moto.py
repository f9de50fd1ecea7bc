"""Rendered requests, sent by boto3: to moto where it answers, to botocore's Stubber where it does
not. What moto takes proves shapes, not that AWS would take it.
"""

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws
from tests.unit import images
from tests.unit.deploy.test_sagemaker import OPERATIONS, approved, rendered, requests_of

CREDENTIALS = dict(
    region_name="eu-central-1", aws_access_key_id="testing", aws_secret_access_key="testing"
)
ORDER = (
    "training-job.yaml",
    "model-package-group.yaml",
    "errors-alarm.yaml",
    "latency-alarm.yaml",
    "model-package.yaml",
    "model.yaml",
    "endpoint-config.yaml",
    "endpoint.yaml",
)
"""Of the rendered README."""


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "111122223333")
    images.published(tmp_path / "trusted")
    return tmp_path


def send(requests, name, operation=None):
    service, known = OPERATIONS[name]
    client = boto3.client(service, **CREDENTIALS)
    call = (operation or known)[0].lower() + (operation or known)[1:]
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in call)
    return getattr(client, snake)(**requests[name])


def test_all_requests_in_their_order_make_an_endpoint(root):
    requests = requests_of(rendered(root, model=approved(root)))
    assert {*ORDER} == {*requests}
    with mock_aws():
        for name in ORDER:
            send(requests, name, "CreateEndpoint" if name == "endpoint.yaml" else None)
        client = boto3.client("sagemaker", **CREDENTIALS)
        model = client.describe_model(ModelName=requests["model.yaml"]["ModelName"])
        # whatever was asked for, moto says of a model that it is not isolated
        assert requests["model.yaml"]["EnableNetworkIsolation"] is True
        assert model["PrimaryContainer"] == requests["model.yaml"]["PrimaryContainer"]
        config = client.describe_endpoint_config(
            EndpointConfigName=requests["endpoint-config.yaml"]["EndpointConfigName"]
        )
        assert config["KmsKeyId"] == requests["endpoint-config.yaml"]["KmsKeyId"]
        (package,) = client.list_model_packages(ModelPackageGroupName="casemate-tiny")[
            "ModelPackageSummaryList"
        ]
        assert package["ModelApprovalStatus"] == "Approved"
        alarms = boto3.client("cloudwatch", **CREDENTIALS).describe_alarms()["MetricAlarms"]
        named = requests["endpoint.yaml"]["DeploymentConfig"]["AutoRollbackConfiguration"]
        assert {one["AlarmName"] for one in named["Alarms"]} == {one["AlarmName"] for one in alarms}
        assert {one["TreatMissingData"] for one in alarms} == {"breaching"}


def test_a_model_that_waits_is_registered_as_waiting(root):
    requests = requests_of(rendered(root, model=approved(root, "pending", people=())))
    with mock_aws():
        send(requests, "model-package-group.yaml")
        arn = send(requests, "model-package.yaml")["ModelPackageArn"]
        client = boto3.client("sagemaker", **CREDENTIALS)
        told = client.describe_model_package(ModelPackageName=arn)
    assert told["ModelApprovalStatus"] == "PendingManualApproval"


def test_the_second_time_the_same_file_updates_the_endpoint(root):
    """moto has no such operation."""
    request = requests_of(rendered(root, model=approved(root)))["endpoint.yaml"]
    with mock_aws(), pytest.raises((ClientError, NotImplementedError)):
        boto3.client("sagemaker", **CREDENTIALS).update_endpoint(**request)
    client = boto3.client("sagemaker", **CREDENTIALS)
    arn = "arn:aws:sagemaker:eu-central-1:111122223333:endpoint/casemate-tiny-production"
    with Stubber(client) as stub:
        stub.add_response("update_endpoint", {"EndpointArn": arn}, request)
        assert client.update_endpoint(**request)["EndpointArn"] == arn
        stub.assert_no_pending_responses()


def test_a_second_model_is_another_name_and_the_same_one_the_same(root):
    first = requests_of(rendered(root, model=approved(root)))
    again = requests_of(rendered(root, model="signed"))
    other = requests_of(rendered(root, model=approved(root, "other", model_version=4)))
    assert first == again
    for name in ("model.yaml", "endpoint-config.yaml"):
        key = "ModelName" if name == "model.yaml" else "EndpointConfigName"
        assert first[name][key] != other[name][key]
    assert first["endpoint.yaml"]["EndpointName"] == other["endpoint.yaml"]["EndpointName"]
