"""An endpoint of SageMaker gets its new version on a fleet of its own, which alarms judge; against
moto, whose missing `update_endpoint` is done here on moto's own state, behind botocore's checks.
"""

import boto3
import pytest
import yaml
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sagemaker.models import sagemaker_backends

from casemate.core.errors import BackendError, ConfigError, Interrupted, RefusedError
from casemate.deploy.cluster.types import Limits
from casemate.deploy.endpoint import release, requests
from casemate.deploy.endpoint.service import Service

REGION, ACCOUNT = "eu-central-1", DEFAULT_ACCOUNT_ID
ENDPOINT = "casemate-tiny-production"
QUICK = Limits(ready=3.0, judge=3.0, poll=0.0)


def write(
    folder, version=1, *, status="Approved", instance="ml.m5.large", image="@sha256:" + "a" * 64
):
    """What `casemate deploy sagemaker` renders, in short."""
    name = f"casemate-tiny-{version}-{str(version) * 12}"
    source = {"S3DataSource": {"S3Uri": f"s3://b/models/{version}/", "S3DataType": "S3Prefix",
                               "CompressionType": "None"}}  # fmt: skip
    container = {"Image": f"c{image}", "ModelDataSource": source, "Environment": {"A": "b"}}
    alarms = [f"{ENDPOINT}-errors", f"{ENDPOINT}-latency"]
    files = {
        "model-package-group.yaml": {"ModelPackageGroupName": "casemate-tiny",
                                     "ModelPackageGroupDescription": "d"},
        "model-package.yaml": {
            "ModelPackageGroupName": "casemate-tiny", "ModelApprovalStatus": status,
            "InferenceSpecification": {"Containers": [{"Image": f"c{image}", "ModelDataSource": source}],
                                       "SupportedContentTypes": ["text/csv"],
                                       "SupportedResponseMIMETypes": ["text/csv"]},
        },
        "model.yaml": {"ModelName": name, "ExecutionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/r",
                       "PrimaryContainer": container, "EnableNetworkIsolation": True,
                       "VpcConfig": {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}},
        "endpoint-config.yaml": {
            "EndpointConfigName": name,
            "ProductionVariants": [{"VariantName": "casemate", "ModelName": name,
                                    "InstanceType": instance, "InitialInstanceCount": 2,
                                    "InitialVariantWeight": 1.0, "EnableSSMAccess": False}],
        },
        "endpoint.yaml": {
            "EndpointName": ENDPOINT, "EndpointConfigName": name,
            "DeploymentConfig": {
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
                    "TerminationWaitInSeconds": 0, "MaximumExecutionTimeoutInSeconds": 3600,
                },
                "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": one} for one in alarms]},
            },
        },
        **{
            f"{one.rpartition('-')[2]}-alarm.yaml": {
                "AlarmName": one, "Namespace": "AWS/SageMaker", "MetricName": "ModelLatency",
                "Statistic": "Average", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1.0,
                "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "breaching",
            } for one in alarms
        },
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    for file, request in files.items():
        (folder / file).write_text(yaml.safe_dump(request))
    return requests.read(folder, f"tiny@{version} sha256:00")


class Account:
    """moto, with updates that come out as a test says."""

    def __init__(self):
        self.service = Service(REGION, ACCOUNT)
        self.outcome, self.updates, self.steps, self.state = "done", [], [], {}
        self.service.sagemaker.meta.events.register(
            "before-call.sagemaker.UpdateEndpoint", self.update
        )

    @property
    def endpoint(self):
        return sagemaker_backends[ACCOUNT][REGION].endpoints[ENDPOINT]

    def update(self, params, **_):
        import json

        asked = json.loads(params["body"])
        self.updates.append(asked["EndpointConfigName"])
        if self.outcome == "done" or len(self.updates) > 1:
            self.endpoint.endpoint_config_name = asked["EndpointConfigName"]
        elif self.outcome == "failed":
            self.endpoint.endpoint_status = "UpdateRollbackFailed"
        answer = type("Answer", (), {"status_code": 200, "headers": {}, "content": b"{}"})()
        return answer, {"EndpointArn": "arn", "ResponseMetadata": {"HTTPStatusCode": 200}}

    def alarms(self, state):
        cloudwatch = boto3.client("cloudwatch", region_name=REGION)
        for one in cloudwatch.describe_alarms()["MetricAlarms"]:
            cloudwatch.set_alarm_state(
                AlarmName=one["AlarmName"], StateValue=state, StateReason="a test"
            )

    def run(self, asked, *, judged="OK", **more):
        def told(step, **detail):
            self.steps.append(step)
            if step == "prepare":
                self.alarms(judged)
                for one in sagemaker_backends[ACCOUNT][REGION]._models.values():
                    one.enable_network_isolation = True  # moto 5.2.5 forgets it
            if step == "released":
                self.state["released"] = detail["configuration"]

        return release.Update(
            self.service, asked, released=self.state.get("released", ""),
            registered=False, limits=QUICK, told=told, **more,
        ).run()  # fmt: skip


@pytest.fixture
def account(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield Account()


def test_the_first_release_makes_model_configuration_alarms_registry_and_endpoint(
    account, tmp_path
):
    asked = write(tmp_path / "sm")
    done = account.run(asked)
    assert (done.how, done.configuration) == ("released", asked.wanted)
    assert account.steps == ["begun", "register", "prepare", "place", "released"]
    there = account.service.describe("model", asked.wanted)
    assert there["EnableNetworkIsolation"] is True
    assert account.run(asked).how == "unchanged"
    assert account.updates == []
    assert release.drift(account.service, asked) == []


def test_a_second_version_is_judged_by_alarms_and_serves(account, tmp_path):
    account.run(write(tmp_path / "sm"))
    second = write(tmp_path / "sm", 2)
    done = account.run(second)
    assert (done.how, done.reason) == ("released", "2 alarms are OK")
    assert account.endpoint.endpoint_config_name == second.wanted


@pytest.mark.parametrize(
    ("judged", "told"),
    [
        ("ALARM", "casemate-tiny-production-errors.* fired"),
        ("INSUFFICIENT_DATA", "inconclusive: .*is INSUFFICIENT_DATA"),
    ],
)
def test_what_alarms_call_worse_or_could_not_judge_is_taken_back(account, tmp_path, judged, told):
    first = write(tmp_path / "sm")
    account.run(first)
    second = write(tmp_path / "sm", 2)
    with pytest.raises(RefusedError, match=told):
        account.run(second, judged=judged, clock=iter(range(10**6)).__next__)
    assert account.updates == [second.wanted, first.wanted]
    assert account.endpoint.endpoint_config_name == first.wanted
    assert account.steps[-1] == "rolled-back"


@pytest.mark.parametrize(
    ("outcome", "told"),
    [("taken back", "SageMaker took .* back"), ("failed", "is UpdateRollbackFailed")],
)
def test_an_update_that_sagemaker_takes_back_or_that_fails_is_told(
    account, tmp_path, outcome, told
):
    account.run(write(tmp_path / "sm"))
    account.outcome = outcome
    with pytest.raises(RefusedError, match=told):
        account.run(write(tmp_path / "sm", 2))
    assert "released" not in account.steps[account.steps.index("released") + 1 :]


def test_stopped_while_sagemaker_works_the_next_apply_waits_judges_and_takes_back(
    account, tmp_path
):
    first = write(tmp_path / "sm")
    account.run(first)
    second = write(tmp_path / "sm", 2)

    def stopped(text):
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="SageMaker goes on"):
        account.run(second, judged="INSUFFICIENT_DATA", progress=stopped)
    account.endpoint.endpoint_config_name = second.wanted
    account.endpoint.endpoint_status = "Updating"

    def ends(seconds):
        account.endpoint.endpoint_status = "InService"

    with pytest.raises(RefusedError, match="fired"):
        account.run(second, judged="ALARM", sleep=ends)
    assert account.endpoint.endpoint_config_name == first.wanted


def test_a_model_or_configuration_of_the_same_name_with_other_settings_is_not_used(
    account, tmp_path
):
    account.run(write(tmp_path / "sm"))
    other = write(tmp_path / "sm", instance="ml.m5.4xlarge")
    with pytest.raises(RefusedError, match=r"endpoint_config .* InstanceType|is not what was"):
        account.run(other)
    found = release.drift(account.service, other)
    assert [(one.field, one.rendered, one.there) for one in found] == [
        ("ProductionVariants[0].InstanceType", "ml.m5.4xlarge", "ml.m5.large")
    ]


def test_drift_names_what_was_changed_or_removed_by_hand(account, tmp_path):
    asked = write(tmp_path / "sm")
    account.run(asked)
    cloudwatch = boto3.client("cloudwatch", region_name=REGION)
    cloudwatch.put_metric_alarm(**asked.alarms[0] | {"TreatMissingData": "ignore"})
    cloudwatch.delete_alarms(AlarmNames=[asked.alarms[1]["AlarmName"]])
    found = {(one.object, one.field): one.there for one in release.drift(account.service, asked)}
    assert found == {
        (f"alarm {ENDPOINT}-errors", "TreatMissingData"): "ignore",
        (f"alarm {ENDPOINT}-latency", ""): "(nothing)",
    }


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"status": "PendingManualApproval"}, "is PendingManualApproval"),
        ({"image": ":latest"}, "not one image for ever"),
    ],
)
def test_requests_that_must_not_be_made_are_refused(tmp_path, change, told):
    with pytest.raises(RefusedError, match=told):
        write(tmp_path / "sm", **change)


def test_requests_that_were_taken_apart_are_refused(tmp_path):
    write(tmp_path / "sm")
    endpoint = tmp_path / "sm" / "endpoint.yaml"
    whole = endpoint.read_text()
    endpoint.write_text(whole.replace("EndpointConfigName: casemate", "EndpointConfigName: other"))
    with pytest.raises(ConfigError, match="do not name each other"):
        requests.read(tmp_path / "sm", "m")
    endpoint.write_text("a: b")
    with pytest.raises(ConfigError, match="lacks what casemate renders"):
        requests.read(tmp_path / "sm", "m")
    endpoint.write_text(whole)
    (tmp_path / "sm" / "latency-alarm.yaml").unlink()
    with pytest.raises(RefusedError, match="no alarm of the folder judges"):
        requests.read(tmp_path / "sm", "m")
    endpoint.unlink()
    with pytest.raises(RefusedError, match=r"has no endpoint\.yaml"):
        requests.read(tmp_path / "sm", "m")


def test_credentials_of_another_account_are_not_used(account):
    with pytest.raises(ConfigError, match=f"are of account {ACCOUNT}"):
        Service(REGION, "999999999999")


def test_what_aws_says_is_told_without_what_was_sent(account, tmp_path):
    from botocore.exceptions import ClientError

    def denied(**_):
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "x")

    account.service.sagemaker.meta.events.register_first(
        "before-call.sagemaker.CreateModel", denied
    )
    with pytest.raises(BackendError, match="does not let these credentials create model: no"):
        account.run(write(tmp_path / "sm"))
    bad = write(tmp_path / "sm")
    bad.group["Typo"] = "x"
    account.service.describe("model", "x")
    with pytest.raises(ConfigError, match=r"(?s)knows no such request.*Typo"):
        account.service.do("create_model_package_group", bad.group)
