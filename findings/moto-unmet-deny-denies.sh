#!/bin/sh
# moto 5.2.5, enforcing IAM: a user may s3:ListAllMyBuckets, and a second statement denies it from one address only, which is not the caller's. IAM's rules
# (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html): a statement whose condition is not met does not count, so the call is allowed. moto refuses it: a `Deny` denies
# whatever its condition says. An `Allow` whose condition is not met leaves another one its effect. So bucket policies with conditions cannot be tried with moto.
# Seen with moto 5.2.5, boto3 1.44.5. Fails when the behaviour changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q "moto[s3]==5.2.5" boto3==1.44.5
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import json

import boto3
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count

ROOT = dict(region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
ANYWHERE = {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}
UNMET = {"IpAddress": {"aws:SourceIp": "203.0.113.7/32"}}


@mock_aws
def may(*statements):
    iam = boto3.client("iam", **ROOT)
    iam.create_user(UserName="u")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [*statements]})
    iam.put_user_policy(UserName="u", PolicyName="p", PolicyDocument=policy)
    key = iam.create_access_key(UserName="u")["AccessKey"]

    @set_initial_no_auth_action_count(0)
    def ask():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id=key["AccessKeyId"],
                              aws_secret_access_key=key["SecretAccessKey"])
        try:
            client.list_buckets()
            return True
        except ClientError as error:
            assert "Denied" in error.response["Error"]["Code"], error
            return False

    return ask()


assert may(ANYWHERE)
two = may({**ANYWHERE, "Condition": UNMET}, ANYWHERE)
deny = may({"Effect": "Deny", "Action": "s3:ListAllMyBuckets", "Resource": "*", "Condition": UNMET}, ANYWHERE)
print("an unmet Allow beside one that is met:", "allowed" if two else "refused")
print("an unmet Deny beside an Allow:", "allowed" if deny else "refused")
assert two and not deny
PY
echo "as described"
