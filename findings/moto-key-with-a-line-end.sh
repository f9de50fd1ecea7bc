#!/bin/sh
# moto 5.2.5, as a server: an object's key may hold any Unicode characters (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html: control characters want
# care, and are allowed; lists give them with encoding-type=url). A key with a line feed is answered with 404 on PUT and GET, and so is one below a prefix: the server's routes match none. In process
# (`mock_aws`) the same key is stored and given back. So hostile keys cannot be tried with the server. A tab or an escape is taken by both.
# Seen with moto 5.2.5, boto3 1.44.5. Fails when the behaviour changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q "moto[s3,server]==5.2.5" boto3==1.44.5
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import boto3
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.server import ThreadedMotoServer

KEYS = dict(region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")


def kept(client, key):
    try:
        client.put_object(Bucket="bucket", Key=key, Body=b"1")
        listed = [one["Key"] for one in client.list_objects_v2(Bucket="bucket")["Contents"]]
        return client.get_object(Bucket="bucket", Key=key)["Body"].read() == b"1" and key in listed
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]


def all_of(client):
    client.create_bucket(Bucket="bucket")
    return {key: kept(client, key) for key in ("a\nb", "p/a\nb", "a\tb", "a\x1bb")}


with mock_aws():
    inside = all_of(boto3.client("s3", **KEYS))
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
host, port = server.get_host_and_port()
outside = all_of(boto3.client("s3", endpoint_url=f"http://{host}:{port}", **KEYS))
server.stop()
print("in process:", inside)
print("as a server:", outside)
assert all(one is True for one in inside.values())
assert outside == {"a\nb": 404, "p/a\nb": 404, "a\tb": True, "a\x1bb": True}
PY
echo "as described"
