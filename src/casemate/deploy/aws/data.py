"""Who may read and write what, and seal and open it with the key."""

from casemate.deploy.aws.asked import CONTAINERS, ROLES, Asked, Context, may, never, without
from casemate.deploy.aws.names import Names

TLS: Context = {"aws:SecureTransport": "true", "s3:TlsVersion": "1.3"}
SEALED, OTHER = "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"
GET, PUT, LIST = "s3:GetObject", "s3:PutObject", "s3:ListBucket"


def _another(key: str) -> str:
    return f"{key[:-4]}ffff"


def somebody(names: Names) -> str:
    """An administrator of the account."""
    return f"arn:{names.table.partition}:iam::{names.table.account}:role/administrator"


def objects(names: Names, key: str) -> list[Asked]:
    """Of the bucket."""
    partition = f"arn:{names.table.partition}:s3:::"
    bucket, theirs = f"{partition}{names.table.bucket}", f"{partition}theirs"
    keyed, other = TLS | {SEALED: "aws:kms", OTHER: key}, TLS | {OTHER: _another(key)}
    project, model = f"{bucket}/project/casemate.toml", f"{bucket}/models/ab/model/model.onnx"
    store = f"{bucket}/keys/keystore.json"
    result, captured = f"{bucket}/training/x/output/model.tar.gz", f"{bucket}/capture/e/v/1.jsonl"
    listed = {
        "training": ("project/", "models/"),
        "serving": ("models/", "project/"),
        "deployer": ("training/", "keys/"),
    }
    admin = somebody(names)
    return [
        may("training", GET, project, "its project", TLS),
        may("training", GET, store, "what it signs with", TLS),
        may("training", PUT, result, "its results", TLS),
        never("training", GET, model, "models are not its own", TLS),
        never("training", PUT, model, "it deploys nothing", TLS),
        never("training", PUT, project, "it does not change what it learns from", TLS),
        never("training", GET, captured, "what callers asked is not for training", TLS),
        may("serving", GET, model, "the model", TLS),
        may("serving", PUT, captured, "what was asked and answered", keyed),
        never("serving", GET, captured, "it writes what was asked, and reads none of it", TLS),
        never("serving", GET, project, "no rows of training", TLS),
        never("serving", GET, store, "no key of a signer", TLS),
        never("serving", PUT, model, "it changes no model", TLS),
        may("deployer", PUT, model, "a signed model", TLS),
        may("deployer", PUT, model, "a signed model, its key named", keyed),
        may("deployer", PUT, project, "the project", TLS),
        may("deployer", GET, result, "results", TLS),
        may("deployer", GET, captured, "captured requests, for `casemate watch`", TLS),
        never("deployer", PUT, captured, "nobody makes up what was asked", TLS),
        never("deployer", PUT, result, "nor what training gave", TLS),
        never("deployer", GET, store, "no key of a signer", TLS),
        never("deployer", "s3:DeleteObject", model, "nothing is deleted", TLS),
        never("deployer", "s3:PutBucketPolicy", bucket, "nobody changes what is written here", TLS),
        never("auditor", GET, captured, "no row and no answer", TLS),
        never("auditor", GET, project, "no row", TLS),
        never("auditor", GET, model, "what is signed is verified where it is served", TLS),
        *(
            line
            for who, (own, foreign) in listed.items()
            for line in (
                may(who, LIST, bucket, "its folder", TLS | {"s3:prefix": own}),
                never(who, LIST, bucket, "another folder", TLS | {"s3:prefix": foreign}),
                never(who, LIST, bucket, "everything", TLS),
                never(who, LIST, theirs, "another bucket", TLS | {"s3:prefix": own}),
            )
        ),
        never("deployer", PUT, model, "another key", other),
        never("deployer", PUT, model, "no key of KMS", TLS | {SEALED: "AES256"}),
        never("deployer", PUT, model, "without TLS", {"aws:SecureTransport": "false"}),
        never("deployer", GET, result, "TLS 1.1", TLS | {"s3:TlsVersion": "1.1"}),
        may(admin, PUT, model, "an administrator", TLS),
        never(admin, PUT, model, "not even they, past the key", other),
        never(admin, GET, model, "nor without TLS", {"aws:SecureTransport": "false"}),
    ]


def audit(names: Names, key: str) -> list[Asked]:
    """Of the bucket under Object Lock."""
    partition = f"arn:{names.table.partition}:s3:::"
    bucket = f"{partition}{names.table.audit_bucket}"
    entry, admin = f"{bucket}/log/checkpoint-1", somebody(names)
    gone = ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention")
    config = "s3:GetBucketObjectLockConfiguration"
    return [
        may("deployer", PUT, entry, "a checkpoint", TLS),
        may("deployer", PUT, entry, "its key named", TLS | {SEALED: "aws:kms", OTHER: key}),
        may("deployer", "s3:PutObjectRetention", entry, "kept longer", TLS),
        may("auditor", GET, entry, "what was copied", TLS),
        may("auditor", "s3:GetObjectRetention", entry, "how long it stays", TLS),
        may("auditor", LIST, bucket, "what there is", TLS),
        may("auditor", config, bucket, "what keeps it", TLS),
        never("auditor", config, f"{partition}theirs", "another bucket", TLS),
        never("deployer", GET, entry, "it writes, and reads nothing", TLS),
        never("auditor", PUT, entry, "it reads, and writes nothing", TLS),
        never("training", PUT, entry, "no container writes there", TLS),
        never("serving", GET, entry, "no container reads there", TLS),
        *(
            never(who, action, entry, "what was copied stays", TLS)
            for action in gone
            for who in ("deployer", "auditor", admin)
        ),
        never(admin, "s3:PutLifecycleConfiguration", bucket, "nor does it expire", TLS),
        never("auditor", GET, entry, "without TLS", {"aws:SecureTransport": "false"}),
        never("auditor", GET, entry, "TLS 1.1", TLS | {"s3:TlsVersion": "1.1"}),
        never("deployer", PUT, entry, "another key", TLS | {OTHER: _another(key)}),
        never("deployer", PUT, entry, "no key of KMS", TLS | {SEALED: "AES256"}),
    ]


def of_key(names: Names, key: str) -> list[Asked]:
    """With the key."""
    table = names.table
    bucket, kept = (
        f"arn:{table.partition}:s3:::{one}" for one in (table.bucket, table.audit_bucket)
    )
    place, via = "kms:EncryptionContext:aws:s3:arn", "kms:ViaService"
    s3: Context = {via: f"s3.{table.region}.{table.suffix}"}
    mine, log, theirs = ({**s3, place: one} for one in (bucket, kept, f"{bucket}-2"))
    jobs: Context = {via: f"sagemaker.{table.region}.{table.suffix}"}
    disk = jobs | {"kms:GrantIsForAWSResource": "true"}
    opened, made, grant = "kms:Decrypt", "kms:GenerateDataKey", "kms:CreateGrant"
    seen, policy, admin = "kms:DescribeKey", "kms:GetKeyPolicy", somebody(names)
    elsewhere = mine | {via: "s3.us-east-9.amazonaws.com"}
    return [
        *(may(who, opened, key, "objects that it may read", mine) for who in ROLES[:3]),
        *(may(who, made, key, "objects that it may write", mine) for who in ROLES[:3]),
        *(never(who, opened, key, "not past S3", without(mine, via)) for who in ROLES),
        *(never(who, opened, key, "another bucket", theirs) for who in ROLES),
        *(never(who, opened, key, "another region", elsewhere) for who in ROLES[:3]),
        may("auditor", opened, key, "what was copied", log),
        never("auditor", opened, key, "not past S3", without(log, via)),
        never("auditor", opened, key, "the other bucket is none of its business", mine),
        never("auditor", made, key, "it writes nothing", log),
        may("deployer", made, key, "a checkpoint", log),
        never("deployer", made, key, "not past S3", without(log, via)),
        never("deployer", made, key, "another bucket", theirs),
        never("deployer", opened, key, "it reads no checkpoint", log),
        may("training", grant, key, "its disk", disk),
        may("deployer", grant, key, "an endpoint's disk", disk),
        never("training", grant, key, "a grant to whoever it likes", jobs),
        never("deployer", grant, key, "not past SageMaker", without(disk, via)),
        never("serving", grant, key, "it has no disk to give away", disk),
        *(may(who, seen, key, "that it is there") for who in ("training", "deployer", "auditor")),
        never("serving", seen, key, "it needs not know"),
        may("auditor", policy, key, "who may use it"),
        *(never(who, policy, key, "none of its business") for who in ROLES[:3]),
        may(admin, "kms:ScheduleKeyDeletion", key, "the account looks after it"),
        never(admin, opened, key, "and reads nothing with it", mine),
        *(never(who, "kms:PutKeyPolicy", key, "nobody here changes that") for who in ROLES),
        *(never(who, "kms:ScheduleKeyDeletion", key, "nobody here ends it") for who in ROLES),
        *(never(who, "kms:ReEncryptFrom", key, "nobody takes it elsewhere") for who in CONTAINERS),
    ]
