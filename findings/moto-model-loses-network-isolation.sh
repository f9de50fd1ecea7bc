#!/bin/bash
# moto 5.2.5: a SageMaker model that is created with network isolation is described as one without.
#
# Expected: `DescribeModel` answers `EnableNetworkIsolation` as `CreateModel` was given it
#           (https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeModel.html).
# Seen:     it is False, while other members of the same request (container, VPC) come back as they were given. Whoever tests a check of
#           what runs in an account ("is every model isolated?") is told by moto that none is, and a check the other way round passes.
#
# Needs: bash, Python 3.11 or newer.
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "moto[sagemaker]==5.2.5" boto3 2>/dev/null
AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_DEFAULT_REGION=eu-central-1 "$folder/venv/bin/python" - <<'PYTHON'
import sys

import boto3
from moto import mock_aws

with mock_aws():
    client = boto3.client("sagemaker")
    client.create_model(
        ModelName="isolated",
        ExecutionRoleArn="arn:aws:iam::123456789012:role/serving",
        PrimaryContainer={"Image": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/c:1"},
        VpcConfig={"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        EnableNetworkIsolation=True,
    )
    found = client.describe_model(ModelName="isolated")
assert found["VpcConfig"]["Subnets"] == ["subnet-1"], found
if found["EnableNetworkIsolation"]:
    sys.exit("the model is isolated now, as it was asked to be")
print("as described: EnableNetworkIsolation=True was asked for,", found["EnableNetworkIsolation"], "is answered")
PYTHON
