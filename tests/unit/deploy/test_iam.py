"""Roles, key and buckets as a template: the linter of CloudFormation's own schemas finds nothing,
and moto makes of it what is meant.
"""

import json
import warnings
from pathlib import Path

import boto3
import msgspec
import pytest
from cfnlint.api import lint_all
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws
from tests.conftest import TOML
from tests.unit.deploy import stacks
from tests.unit.deploy.test_ci import HOSTILE
from tests.unit.deploy.test_sagemaker import AWS

from casemate.config import parse
from casemate.core.errors import ConfigError
from casemate.deploy.aws import iam, sagemaker
from casemate.deploy.aws.names import named, names_of
from casemate.deploy.interface import Given
from casemate.deploy.targets import TARGETS

CREDENTIALS = dict(region_name=stacks.REGION, aws_access_key_id="x", aws_secret_access_key="y")
WHERES = ("eu-central-1", "us-gov-west-1", "cn-north-1")


def template(text=AWS, toml=TOML):
    return iam.render(Given(parse(toml + text), Path("/r"), Path("/r"), {})).files["access.yaml"]


def elsewhere(region):
    partition = {"cn": "aws-cn", "us": "aws-us-gov"}.get(region[:2], "aws")
    return AWS.replace("eu-central-1", region).replace("arn:aws:", f"arn:{partition}:")


@pytest.mark.slow
@pytest.mark.parametrize("region", WHERES)
def test_the_linter_of_cloudformation_finds_nothing(region):
    found = lint_all(template(elsewhere(region)).decode())
    # what is called informational asks for notes to machines in the template
    assert [str(one) for one in found if one.rule.severity != "informational"] == []
    broken = template().decode().replace("EnableKeyRotation", "EnableKeyRotations")
    assert any(one.rule.severity == "error" for one in lint_all(broken))


def test_no_action_is_a_pattern_and_only_what_knows_no_resource_is_on_all():
    """`s3:*` is refused to all, `*` as a resource stands in the key's own policy."""
    open_ended = {
        "ecr:GetAuthorizationToken", "cloudwatch:PutMetricData", "cloudtrail:LookupEvents",
        "ec2:DescribeDhcpOptions", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets", "ec2:DescribeVpcs",
    }  # fmt: skip
    for one in stacks.resolved(template()).values():
        if one["Type"] != "AWS::IAM::ManagedPolicy":
            continue
        for statement in one["Properties"]["PolicyDocument"]["Statement"]:
            said = statement["Action"]
            acts = {said} if isinstance(said, str) else {*said}
            assert statement["Effect"] == "Allow"
            assert not any("*" in act for act in acts)
            if statement["Resource"] == "*":
                assert acts <= open_ended
            assert not any(
                act.startswith(("kms:", "iam:Create", "iam:Put", "sts:")) for act in acts
            )


def test_what_was_copied_for_auditors_stays_as_long_as_the_audit_table_says():
    bucket = stacks.resolved(template("[audit]\nretain_days = 400\n" + AWS))["AuditBucket"]
    said = bucket["Properties"]
    assert said["ObjectLockEnabled"] is True
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 400}}
    assert said["ObjectLockConfiguration"] == {"ObjectLockEnabled": "Enabled", "Rule": rule}
    assert said["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["DeletionPolicy"] == "Retain"
    assert {*said["PublicAccessBlockConfiguration"].values()} == {True}


def test_moto_makes_the_roles_the_key_and_the_buckets_of_it(monkeypatch):
    """It proves shapes only: it leaves out policies of buckets, Object Lock and what keeps the public
    out, and says of such a stack that it is complete.
    """
    monkeypatch.setenv("MOTO_ACCOUNT_ID", stacks.ACCOUNT)
    stack = stacks.resolved(template())
    with mock_aws(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = boto3.client("cloudformation", **CREDENTIALS)
        made.create_stack(
            StackName="casemate-tiny",
            TemplateBody=template().decode(),
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        (told,) = made.describe_stacks()["Stacks"]
        assert [one["OutputKey"] for one in told["Outputs"]] == ["KeyId"]
        client = boto3.client("iam", **CREDENTIALS)
        for one in client.list_roles()["Roles"]:
            name = one["RoleName"].rpartition("-")[2].capitalize()
            said = stack[f"{name}Role"]["Properties"]
            assert one["Arn"] == f"arn:aws:iam::{stacks.ACCOUNT}:role/casemate/{said['RoleName']}"
            assert one["AssumeRolePolicyDocument"] == said["AssumeRolePolicyDocument"]
            (policy,) = client.list_attached_role_policies(RoleName=one["RoleName"])[
                "AttachedPolicies"
            ]
            document = client.get_policy_version(PolicyArn=policy["PolicyArn"], VersionId="v1")[
                "PolicyVersion"
            ]["Document"]
            written = json.dumps(stack[f"{name}Policy"]["Properties"]["PolicyDocument"])
            assert [s["Sid"] for s in document["Statement"]] == [
                s["Sid"] for s in json.loads(written)["Statement"]
            ]
            assert len(written.replace(" ", "")) < 6144  # what a managed policy may have
        s3 = boto3.client("s3", **CREDENTIALS)
        for bucket in ("clinic-audit", "clinic-models"):
            (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"][
                "Rules"
            ]
            assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"


@given(HOSTILE)
@settings(deadline=None, max_examples=60)
def test_no_name_becomes_anything_but_itself_in_what_aws_reads(text):
    plain = parse(TOML + AWS)
    change = msgspec.structs.replace
    config = change(plain, project=change(plain.project, name=text))
    config = change(config, serve=change(plain.serve, stage=text))
    try:
        written = iam.render(Given(config, Path("/r"), Path("/r"), {})).files["access.yaml"]
        sagemaker.render(Given(config, Path("/r"), Path("/r"), {}))
    except ConfigError:
        return
    before, now = stacks.resolved(template()), stacks.resolved(written)
    prefix, old = names_of(config).prefix, names_of(plain).prefix
    endpoint, former = names_of(config).endpoint, names_of(plain).endpoint
    text_now = json.dumps(now)
    text_now = text_now.replace(endpoint, former).replace(prefix, old)
    said = json.dumps(text)[1:-1]
    assert text_now.replace(f"of {said}", "of tiny") == json.dumps(before)


@given(st.text(), st.text(), st.integers(10, 40))
def test_two_names_are_two_and_fit_what_roles_and_sagemaker_take(one, other, most):
    made = named(one, most)
    assert len(made) <= most
    assert made == made.lower()
    assert made.replace("-", "").isascii()
    assert made.replace("-", "").isalnum()
    assert not made.startswith("-")
    assert not made.endswith("-")
    assert (named(other, most) == made) == (one == other)


def test_the_table_is_rendered_for_people():
    files = iam.render(Given(parse(TOML + AWS), Path("/r"), Path("/r"), {})).files
    lines = files["access.md"].decode().splitlines()
    assert sum(line.startswith("| serving | NOT ") for line in lines) >= 30
    assert any("sagemaker:NetworkIsolation = true" in line for line in lines)


def test_what_was_just_rendered_is_sound_and_no_template_is_named():
    name, said = "access.yaml", TARGETS["iam"].dangers
    given = Given(parse(TOML + AWS), Path(), Path(), {})
    assert said(name, TARGETS["iam"].render(given).files[name]) == []
    for content in (b"[" * 100_000, b"A: [", b"- a", b"", b"\xff"):
        assert "no YAML that CloudFormation" in said(name, content)[0]
