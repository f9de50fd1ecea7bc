#!/bin/sh
# moto 5.2.5, CloudFormation: a template gives a bucket Object Lock (compliance, 400 days), keeps the public out and gives it a policy. The stack ends as CREATE_COMPLETE. The bucket has none
# of the three: S3 says that there is no such configuration. Only the unsupported type of resource (the policy) is a warning; the two properties are dropped in silence. Expected: the
# properties, as `create_bucket` and `put_object_lock_configuration` of the same moto keep them, or a stack that fails.
# A model that was created with EnableNetworkIsolation=True is described with False, too. Seen with moto 5.2.5, boto3 1.44.5. Fails when the behaviour changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q "moto[cloudformation,s3]==5.2.5" boto3==1.44.5
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import boto3
from botocore.exceptions import ClientError
from moto import mock_aws

TEMPLATE = """
Resources:
  Kept:
    Type: AWS::S3::Bucket
    Properties:
      BucketName: kept-for-auditors
      ObjectLockEnabled: true
      ObjectLockConfiguration:
        ObjectLockEnabled: Enabled
        Rule: {DefaultRetention: {Mode: COMPLIANCE, Days: 400}}
      PublicAccessBlockConfiguration: {BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true}
"""
MORE = """
  Policy:
    Type: AWS::S3::BucketPolicy
    Properties:
      Bucket: !Ref Kept
      PolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Deny, Principal: "*", Action: "s3:DeleteObject", Resource: "arn:aws:s3:::kept-for-auditors/*"}]}
"""
KNOWN = dict(region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
with mock_aws():
    stacks, s3 = boto3.client("cloudformation", **KNOWN), boto3.client("s3", **KNOWN)
    stacks.create_stack(StackName="kept", TemplateBody=TEMPLATE + MORE)
    status = stacks.describe_stacks(StackName="kept")["Stacks"][0]["StackStatus"]
    print("stack:", status)
    assert status == "CREATE_COMPLETE"
    for ask in ("get_object_lock_configuration", "get_public_access_block", "get_bucket_policy"):
        try:
            found = getattr(s3, ask)(Bucket="kept-for-auditors")
            raise SystemExit(f"{ask}: there is one now: {found}")
        except ClientError as error:
            print(f"{ask}: {error.response['Error']['Code']}")
    client = boto3.client("sagemaker", **KNOWN)
    client.create_model(
        ModelName="m", ExecutionRoleArn="arn:aws:iam::123456789012:role/r",
        PrimaryContainer={"Image": "i"}, EnableNetworkIsolation=True,
    )
    isolated = client.describe_model(ModelName="m")["EnableNetworkIsolation"]
    print("isolation of a model that was created with it:", isolated)
    assert isolated is False
PY
echo "as described"
