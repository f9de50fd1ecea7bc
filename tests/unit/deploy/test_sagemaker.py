"""Requests to SageMaker: the service's own model takes them, a model is rendered as its signed
approvals say, and nobody's name becomes anything but itself.
"""

import re

import boto3
import msgspec
import pytest
import yaml
from botocore.validate import ParamValidator
from tests.conftest import TOML
from tests.unit import images
from tests.unit.images import OTHER, SIGNER, Signed

from casemate.config import parse
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, RefusedError, VerificationError, WrongSigner
from casemate.deploy.aws import sagemaker
from casemate.deploy.aws.dangers import dangers
from casemate.deploy.interface import Given
from casemate.deploy.targets import TARGETS
from casemate.stages.release.admission import WITHDRAWN, WITHDRAWN_TYPE, Gone, Withdrawals

AWS = """
[deploy.aws]
account = "111122223333"
region = "eu-central-1"
bucket = "clinic-models"
audit_bucket = "clinic-audit"
subnets = ["subnet-0a1b2c3d", "subnet-0a1b2c3e"]
security_groups = ["sg-0a1b2c3d"]
deployers = ["arn:aws:iam::111122223333:role/ci"]
auditors = ["arn:aws:iam::111122223333:user/ana"]
"""
READY = AWS + 'image = "sha256:' + "ab" * 32 + '"\nkey = "1234abcd-12ab-34cd-56ef-1234567890ab"\n'
OPERATIONS = {
    "training-job.yaml": ("sagemaker", "CreateTrainingJob"),
    "model-package-group.yaml": ("sagemaker", "CreateModelPackageGroup"),
    "model-package.yaml": ("sagemaker", "CreateModelPackage"),
    "model.yaml": ("sagemaker", "CreateModel"),
    "endpoint-config.yaml": ("sagemaker", "CreateEndpointConfig"),
    "endpoint.yaml": ("sagemaker", "UpdateEndpoint"),
    "errors-alarm.yaml": ("cloudwatch", "PutMetricAlarm"),
    "latency-alarm.yaml": ("cloudwatch", "PutMetricAlarm"),
}


@pytest.fixture
def root(tmp_path):
    images.published(tmp_path / "trusted")
    return tmp_path


def rendered(root, text=READY, model=None, toml=TOML):
    options = {} if model is None else {"model": model}
    return sagemaker.render(Given(parse(toml + text), root, root / "sm", options))


def approved(root, name="signed", people=("User::ana",), **said):
    Signed(approvers=list(people), **said).folder(root / name)
    return name


def requests_of(rendering):
    return {
        name: yaml.safe_load(content)
        for name, content in rendering.files.items()
        if name.endswith(".yaml")
    }


def shape_of(name):
    service, operation = OPERATIONS[name]
    client = boto3.client(
        service, region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="y"
    )
    return client.meta.service_model.operation_model(operation).input_shape


def unfit(value, shape, place=""):
    """What the published model of the service has against a value: members, types, patterns, words
    and lengths. botocore itself looks at members, types and least lengths only.
    """
    found = []
    if shape.type_name == "structure":
        for key, one in value.items():
            if key not in shape.members:
                found.append(f"{place}.{key}: unknown")
            else:
                found += unfit(one, shape.members[key], f"{place}.{key}")
    elif shape.type_name == "list":
        for at, one in enumerate(value):
            found += unfit(one, shape.member, f"{place}[{at}]")
    elif shape.type_name == "map":
        for key, one in value.items():
            found += unfit(key, shape.key, f"{place}.{key}") + unfit(one, shape.value, place)
    most = shape.metadata.get("max")
    size = value if isinstance(value, int | float) else len(value)
    if most is not None and size > most:
        found.append(f"{place}: {size} is more than {most}")
    if getattr(shape, "enum", None) and value not in shape.enum:
        found.append(f"{place}: {value} is none of {len(shape.enum)} words")
    pattern = shape.metadata.get("pattern")
    if pattern and "\\p{" not in pattern and not re.fullmatch(pattern, value):
        found.append(f"{place}: {value} does not match {pattern}")
    return found


def test_every_request_is_one_that_the_service_knows(root):
    requests = requests_of(rendered(root, model=approved(root)))
    assert set(requests) == set(OPERATIONS)
    for name, request in requests.items():
        report = ParamValidator().validate(request, shape_of(name))
        assert not report.has_errors(), report.generate_report()
        assert unfit(request, shape_of(name)) == []


def test_the_same_gives_the_same_and_what_is_rendered_is_safe(root):
    model = approved(root)
    first, again = rendered(root, model=model), rendered(root, model=model)
    assert first == again
    assert all(dangers(name, content) == [] for name, content in first.files.items())
    assert first.model.startswith("wdbc@3 sha256:")


def test_containers_are_isolated_in_your_subnets_and_all_is_under_the_key(root):
    requests = requests_of(rendered(root, model=approved(root)))
    key = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    image = f"111122223333.dkr.ecr.eu-central-1.amazonaws.com/casemate@sha256:{'ab' * 32}"
    for name in ("model.yaml", "training-job.yaml"):
        assert requests[name]["EnableNetworkIsolation"] is True
        assert requests[name]["VpcConfig"]["Subnets"] == ["subnet-0a1b2c3d", "subnet-0a1b2c3e"]
    assert requests["model.yaml"]["PrimaryContainer"]["Image"] == image
    job, config = requests["training-job.yaml"], requests["endpoint-config.yaml"]
    assert job["ResourceConfig"]["VolumeKmsKeyId"] == job["OutputDataConfig"]["KmsKeyId"] == key
    assert config["KmsKeyId"] == config["DataCaptureConfig"]["KmsKeyId"] == key
    routing = requests["endpoint.yaml"]["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert routing["TrafficRoutingConfiguration"]["Type"] == "CANARY"
    alone = requests_of(rendered(root, READY + "instances = 1\ncapture_percent = 0\n", "signed"))
    routing = alone["endpoint.yaml"]["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert routing["TrafficRoutingConfiguration"]["Type"] == "ALL_AT_ONCE"
    assert "DataCaptureConfig" not in alone["endpoint-config.yaml"]


def test_the_registry_says_what_approvals_and_withdrawals_say(root):
    assert "model.yaml" in rendered(root, model=approved(root)).files
    pending = rendered(root, model=approved(root, "pending", people=()))
    assert b"ModelApprovalStatus: PendingManualApproval" in pending.files["model-package.yaml"]
    assert not {*sagemaker.OF_APPROVED} & {*pending.files}
    assert "0 of 1 approvals" in pending.notes[-1]
    two = rendered(root, "[release]\napprovals = 2\n" + READY, "signed")
    assert b"PendingManualApproval" in two.files["model-package.yaml"]
    gone = Signed(approvers=["User::ana"])
    gone.folder(root / "gone")
    mine = Gone(model="wdbc@3", bundle=sha256(gone.bundle), reason="odd on ward 7")
    listed = Withdrawals(project="p-1", time="2026-01-01T00:00:00+00:00", models=[mine])
    content = msgspec.json.encode(SIGNER.sign(listed.to_json(), WITHDRAWN_TYPE))
    (root / "trusted" / WITHDRAWN).write_bytes(content)
    rejected = rendered(root, model="gone")
    assert b"ModelApprovalStatus: Rejected" in rejected.files["model-package.yaml"]
    assert not {*sagemaker.OF_APPROVED} & {*rejected.files}


def test_a_changed_foreign_or_otherwise_meant_model_is_rendered_nowhere(root):
    path = root / approved(root) / "model" / "model.onnx"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    with pytest.raises(VerificationError):
        rendered(root, model="signed")
    Signed(OTHER, approvers=["User::ana"]).folder(root / "foreign")
    with pytest.raises(WrongSigner):
        rendered(root, model="foreign")
    with pytest.raises(RefusedError, match="signed for the stage 'staging'"):
        rendered(root, model=approved(root, "other", stage="staging"))
    with pytest.raises(ConfigError, match="no model"):
        rendered(root, model="nowhere")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('111122223333"', '11112222333"', "account"),
        ("eu-central-1", "Frankfurt", "region"),
        ("clinic-audit", "clinic-models", "audit_bucket: take another"),
        ("clinic-models", "clinic_models", "bucket"),
        ("subnet-0a1b2c3d", "vpc-0a1b2c3d", "subnets"),
        ("role/ci", "root", "deployers"),
        ("111122223333:role/ci", "999922223333:role/ci", "not of account 111122223333"),
        ("arn:aws:iam::111122223333:role/ci", "arn:aws-cn:iam::111122223333:role/ci", "in aws"),
        ("user/ana", "role/ci", "audit themselves"),
        ("sha256:ab", "latest", "image"),
        ("1234abcd-12ab", "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab", "key"),
        ("[deploy.aws]", '[deploy.aws]\nsecret_key = "hunter2"', "secret_key"),
        ('"clinic-models"', '"hunter2:hunter2@x"', "bucket"),
        ('"clinic-models"', '"clinic-models\\n"', "bucket"),
    ],
)
def test_numbers_and_names_that_do_not_fit_one_account_are_refused(root, old, new, expected):
    text = READY.replace(old, new, 1)
    assert text != READY
    with pytest.raises(ConfigError, match=expected) as caught:
        rendered(root, text)
    assert "hunter2" not in str(caught.value.diagnostics())


def test_without_an_account_a_key_or_keys_it_is_said_what_is_missing(root):
    with pytest.raises(ConfigError, match=r"no \[deploy.aws\]"):
        rendered(root, "")
    early = rendered(root, AWS)
    assert {*early.files} == {
        "Dockerfile",
        "README.md",
        "keys/signer.pub",
        "keys/signer-mldsa65.pub",
    }
    assert "[deploy.aws] has no image and key" in early.notes[0]
    with pytest.raises(ConfigError, match="no folder"):
        rendered(root, '[deploy]\ntrusted = "elsewhere"\n' + READY, "signed")
    (root / "elsewhere").mkdir()
    with pytest.raises(WrongSigner, match="no signer's keys") as raised:
        rendered(root, '[deploy]\ntrusted = "elsewhere"\n' + READY, approved(root))
    assert "[deploy] trusted" in raised.value.hint
    bare = rendered(root, '[deploy]\ntrusted = "elsewhere"\n' + READY)
    assert "the container needs them" in bare.notes[0]
    with pytest.raises(ConfigError, match="the ledger"):
        aggregate = '[serve.outputs]\nshow = "aggregate"\n' + READY
        rendered(root, aggregate, approved(root))
    with pytest.raises(ConfigError, match="of 1024 characters"):
        long = [f"missing-{n:03}" for n in range(100)]
        toml = TOML.replace("[data]\n", f"[data]\nnull_values = {long}\n")
        rendered(root, READY, "signed", toml=toml)


@pytest.mark.parametrize(
    ("file", "old", "new", "danger"),
    [
        ("model.yaml", "EnableNetworkIsolation: true", "EnableNetworkIsolation: false", "way out"),
        ("training-job.yaml", "EnableNetworkIsolation: true", "", "way out"),
        ("model.yaml", "VpcConfig:", "vpcconfig:", "subnets"),
        ("model.yaml", "@sha256:", ":", "digest"),
        ("model-package.yaml", "@sha256:", ":", "digest"),
        ("training-job.yaml", "  VolumeKmsKeyId:", "  Other:", "names no key"),
        ("endpoint-config.yaml", "\nKmsKeyId:", "\nOther:", "names no key"),
        ("endpoint.yaml", "AutoRollbackConfiguration", "Auto", "no alarm"),
        ("errors-alarm.yaml", "breaching", "notBreaching", "no figures"),
        ("latency-alarm.yaml", "Namespace:", "Namespace: [", "no YAML"),
        ("Dockerfile", "ENTRYPOINT", "# ENTRYPOINT", "nothing would verify"),
    ],
)
def test_what_somebody_wrote_into_a_request_and_is_unsafe_is_named(root, file, old, new, danger):
    content = rendered(root, model=approved(root)).files[file].decode()
    assert old in content
    (found,) = dangers(file, content.replace(old, new, 1).encode())
    assert danger in found


@pytest.mark.parametrize(
    ("file", "old", "new", "danger"),
    [
        ("model.yaml", '\\"approvals\\":1', '\\"approvals\\":0', "PrimaryContainer is not what"),
        ("model.yaml", "  Environment:", "  Environment:\n    PYTHONPATH: /opt/ml/model", "PrimaryContainer"),
        ("model.yaml", "PrimaryContainer:", "Containers: [{Image: a}]\nPrimaryContainer:", "Containers"),
        ("training-job.yaml", "HyperParameters:", "Environment: {LD_PRELOAD: a}\nHyperParameters:", "Environment"),
        ("training-job.yaml", "HyperParameters: {}", "HyperParameters: {train.metric: auc}", ""),
    ],
)  # fmt: skip
def test_what_a_container_is_started_with_is_the_projects_to_say(root, file, old, new, danger):
    given = Given(parse(TOML + READY), root, root / "sm", {"model": approved(root)})
    content = TARGETS["sagemaker"].render(given).files[file].decode()
    assert old in content
    found = TARGETS["sagemaker"].unfit(given, file, content.replace(old, new, 1).encode())
    assert len(found) == bool(danger)
    assert danger in "".join(found)
    assert TARGETS["sagemaker"].unfit(given, file, content.encode()) == []


def test_a_request_whose_aliases_multiply_is_none(root):
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    assert "no YAML" in dangers("model.yaml", "\n".join(lines).encode())[0]
