#!/bin/sh
# Ceph's S3 gateway 16.2.15 (radosgw of Debian 12), asked by boto3 1.44.5: conditional writes hold by kind of bucket and of upload, and nothing tells which.
#  1. In a bucket without versions, PutObject under `If-None-Match: *` is refused where the key exists (412), as it should.
#  2. The same request in a bucket that keeps versions, or that was made with object lock, is taken (200): a second version lies over the first.
#  3. `If-Match` with the ETag that the server just gave, quotes and all as RFC 9110 has it, is refused (412). Without its quotes it is taken; in a bucket with versions neither is.
#  4. CompleteMultipartUpload under `If-None-Match: *` writes over what is there (200).
#  5. put_object as boto3 sends it by default is taken over http, and is 411 MissingContentLength over https (there the checksum goes as a trailer of a chunked body).
# Expected: 412, 412, 200, 412, 200; or a refusal of conditions that are not evaluated. Whoever tries 1 and concludes on the server is wrong about 2 and 4.
# One monitor, one OSD in memory and one gateway run on 127.0.0.1, unpacked into a temporary folder; Debian 12 on amd64. Fails when the behaviour changes.
set -eu
work=$(mktemp -d)
ids=""
trap 'code=$?; [ $code = 0 ] || tail -n 5 run/*.out || true; for id in $ids; do kill "$id" 2>/dev/null || true; done; wait; rm -rf "$work"; exit $code' EXIT
version=16.2.15+ds-0+deb12u2
cd "$work"
mkdir debs root mon osd rgw run
( cd debs
  for name in radosgw ceph-mon ceph-osd ceph-base ceph-common librados2 libradosstriper1 python3-rados python3-ceph-argparse librbd1 libcephfs2 librgw2; do
    echo "$name=$version"
  done | xargs apt-get download -qq
  apt-get download -qq python3-prettytable python3-wcwidth libaio1 libfuse2 libboost-context1.74.0 libboost-filesystem1.74.0 libboost-iostreams1.74.0 libboost-thread1.74.0 libdaxctl1 libfmt9 libibverbs1 libleveldb1d liblua5.3-0 \
    libndctl6 libnl-3-200 libnl-route-3-200 liboath0 libpmem1 librabbitmq4 librdmacm1 libsnappy1v5 libgoogle-perftools4 libtcmalloc-minimal4
  for deb in *.deb; do dpkg -x "$deb" "$work/root"; done )
lib=$work/root/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH="$lib:$lib/ceph:$work/root/lib/x86_64-linux-gnu" PYTHONPATH="$work/root/usr/lib/python3/dist-packages" PATH="$work/root/usr/bin:$PATH" CEPH_CONF="$work/ceph.conf"
# below the ports that connections of the daemons take for themselves
set -- $(python3 -c 'import random, socket; s = [socket.create_server(("127.0.0.1", n)) for n in random.sample(range(15000, 32000), 3)]; print(*(one.getsockname()[1] for one in s))')
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" 2>/dev/null
cat key.pem cert.pem > both.pem
cat > ceph.conf <<END
[global]
fsid = 11111111-2222-3333-4444-555555555555
mon host = [v1:127.0.0.1:$1]
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
auth allow insecure global id reclaim = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
osd objectstore = memstore
run dir = $work/run
admin socket =
log file = $work/run/\$name.log
mon data = $work/mon
osd data = $work/osd
rgw data = $work/rgw
keyring = $work/keyring
ms bind msgr2 = false
public network = 127.0.0.0/8
plugin dir = $lib/ceph
erasure code dir = $lib/ceph/erasure-code
osd class dir = $lib/rados-classes
rgw frontends = beast endpoint=127.0.0.1:$2 ssl_endpoint=127.0.0.1:$3 ssl_certificate=$work/both.pem
END
ceph-authtool --create-keyring keyring --gen-key -n mon. --cap mon 'allow *' > /dev/null
ceph-authtool keyring --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *'
monmaptool --create --clobber --fsid 11111111-2222-3333-4444-555555555555 --addv a "[v1:127.0.0.1:$1]" monmap > /dev/null
ceph-mon -i a --mkfs --monmap monmap --keyring keyring
ceph-mon -i a -f > run/mon.out 2>&1 & ids="$ids $!"
id=$(cat /proc/sys/kernel/random/uuid)
timeout 60 /usr/bin/python3 "$work/root/usr/bin/ceph" osd new "$id" > /dev/null
ceph-osd -i 0 --mkfs --osd-uuid "$id" > run/mkfs.out 2>&1
ceph-osd -i 0 -f > run/osd.out 2>&1 & ids="$ids $!"
radosgw -n client.admin -f > run/rgw.out 2>&1 & ids="$ids $!"
answers() { python3 -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$1', timeout=2)" 2> /dev/null; }
for _ in $(seq 120); do answers "$2" && break; sleep 1; done
answers "$2" || { echo "the gateway does not answer"; tail -n 5 run/*.out run/*.log; exit 2; }
timeout 60 radosgw-admin -n client.admin user create --uid=u --display-name=u --access-key=AK --secret=SK > run/user.out 2>&1
env -u LD_LIBRARY_PATH -u PYTHONPATH python3 -m venv venv
env -u LD_LIBRARY_PATH -u PYTHONPATH venv/bin/pip install -q boto3==1.44.5
env -u LD_LIBRARY_PATH -u PYTHONPATH venv/bin/python - "http://127.0.0.1:$2" "https://127.0.0.1:$3" "$work/cert.pem" <<'PY'
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

KNOWN = dict(region_name="us-east-1", aws_access_key_id="AK", aws_secret_access_key="SK", config=Config(retries={"max_attempts": 1}))
s3 = boto3.client("s3", endpoint_url=sys.argv[1], **KNOWN)
failed = 0


def status(call, **words):
    try:
        return getattr(s3, call)(**words)["ResponseMetadata"]["HTTPStatusCode"]
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]


def seen(what, found, before):
    global failed
    print(f"{what}: {found}")
    failed += found != before


def parts(bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    one = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    etag = s3.upload_part(**one, PartNumber=1, Body=b"in parts")["ETag"]
    return status("complete_multipart_upload", **one, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]}, IfNoneMatch="*")


for bucket, lock in (("plain", False), ("locked", True), ("versions", False)):
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=lock)
s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
for bucket, written_over, quoted, bare in (("plain", 412, 412, 200), ("versions", 200, 412, 412), ("locked", 200, 412, 412)):
    put = {"Bucket": bucket, "Key": "k"}
    s3.put_object(**put, Body=b"first")
    seen(f"{bucket}: put over it, If-None-Match: *", status("put_object", **put, Body=b"second", IfNoneMatch="*"), written_over)
    etag = s3.head_object(**put)["ETag"]
    seen(f"{bucket}: put under If-Match: its ETag", status("put_object", **put, Body=b"third", IfMatch=etag), quoted)
    seen(f"{bucket}: the same, without quotes", status("put_object", **put, Body=b"third", IfMatch=etag.strip('"')), bare)
    seen(f"{bucket}: join parts over it, If-None-Match: *", parts(bucket), 200)
seen("http: put", status("put_object", Bucket="plain", Key="h", Body=b"1"), 200)
s3 = boto3.client("s3", endpoint_url=sys.argv[2], verify=sys.argv[3], **KNOWN)
seen("https: put", status("put_object", Bucket="plain", Key="h", Body=b"1"), 411)
sys.exit(f"{failed} answers are others now" if failed else 0)
PY
echo "as described"
