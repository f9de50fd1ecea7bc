"""Who may become whom, start what, and say what of it."""

from casemate.deploy.aws.asked import (
    CONTAINERS,
    ROLES,
    SERVICE,
    Asked,
    Context,
    may,
    never,
    without,
)
from casemate.deploy.aws.names import Names

STRANGER = "999999999999"
NETWORK, GROUPS = "sagemaker:VpcSubnets", "sagemaker:VpcSecurityGroupIds"
LARGE = "ml.p5.48xlarge"


def roles(names: Names) -> list[Asked]:
    """Who may become whom."""
    table = names.table
    account, source = "aws:SourceAccount", "aws:SourceArn"
    job, model = (
        table.arn("sagemaker", f"{kind}/{names.prefix}-1") for kind in ("training-job", "model")
    )
    mine: Context = {account: table.account, source: job}
    served: Context = {account: table.account, source: model}
    foreign: Context = {account: table.account, source: table.arn("sagemaker", "training-job/x-1")}
    become, role = "sts:AssumeRole", names.role
    training = role("training")
    return [
        may(SERVICE, become, training, "a training job of this project", mine),
        may(SERVICE, become, role("serving"), "a model of this project", served),
        never(SERVICE, become, training, "another project's job", foreign),
        never(SERVICE, become, role("serving"), "another project's model", foreign),
        never(SERVICE, become, training, "somebody else's account", mine | {account: STRANGER}),
        never(SERVICE, become, role("serving"), "somebody else's", served | {account: STRANGER}),
        never(SERVICE, become, training, "nobody says for whom"),
        never(SERVICE, become, role("serving"), "training does not serve", mine),
        never(SERVICE, become, role("deployer"), "no service deploys", mine),
        never("lambda.amazonaws.com", become, training, "another service", mine),
        *(may(one, become, role("deployer"), "named in deployers") for one in table.deployers),
        *(may(one, become, role("auditor"), "named in auditors") for one in table.auditors),
        *(
            never(one, become, role("auditor"), "who deploys audits nothing")
            for one in table.deployers
        ),
        *(
            never(one, become, role("deployer"), "who audits deploys nothing")
            for one in table.auditors
        ),
        *(
            never(one, become, training, "a container's role is nobody's")
            for one in table.deployers
        ),
        *(never("deployer", become, role(one), "nor the deployer's") for one in CONTAINERS),
    ]


def containers(names: Names, key: str) -> list[Asked]:
    """What is started, and how."""
    table = names.table
    subnets, groups = list(table.subnets), list(table.security_groups)
    inside: Context = {
        "sagemaker:NetworkIsolation": "true",
        NETWORK: subnets,
        GROUPS: groups,
    }
    kinds, volume = "sagemaker:InstanceTypes", "sagemaker:VolumeKmsKeyArn"
    job = inside | {
        "sagemaker:InterContainerTrafficEncryption": "true",
        kinds: [table.training_instance],
        volume: key,
        "sagemaker:OutputKmsKeyArn": key,
    }
    fleet: Context = {kinds: [table.instance], volume: key}
    model, training, config = (
        table.arn("sagemaker", f"{kind}/{names.prefix}-1-abcdefabcdef")
        for kind in ("model", "training-job", "endpoint-config")
    )
    endpoint = table.arn("sagemaker", f"endpoint/{names.endpoint}")
    create, train, configure = (
        f"sagemaker:Create{one}" for one in ("Model", "TrainingJob", "EndpointConfig")
    )
    passed: Context = {"iam:PassedToService": SERVICE}
    elsewhere: list[Context] = [{NETWORK: ["subnet-ffffffff"]}, {GROUPS: ["sg-ffffffff"]}]
    larger: Context = {kinds: [LARGE]}
    serving = names.role("serving")

    def theirs(arn: str) -> str:
        return arn.replace(names.prefix, "theirs")

    return [
        may("deployer", create, model, "isolated, in your subnets", inside),
        *(
            never("deployer", create, model, f"without {one}", without(inside, one))
            for one in inside
        ),
        *(never("deployer", create, model, "elsewhere", inside | other) for other in elsewhere),
        never(
            "deployer", create, model, "a way out", inside | {"sagemaker:NetworkIsolation": "false"}
        ),
        never("deployer", create, theirs(model), "another project's", inside),
        may("deployer", train, training, "isolated, under the key", job),
        *(never("deployer", train, training, f"without {one}", without(job, one)) for one in job),
        *(never("deployer", train, training, "elsewhere", job | other) for other in elsewhere),
        never("deployer", train, training, "another key", job | {volume: f"{key[:-4]}ffff"}),
        never("deployer", train, training, "larger machines", job | larger),
        never("deployer", train, theirs(training), "another project's", job),
        may("deployer", configure, config, "under the key", fleet),
        *(
            never("deployer", configure, config, f"without {one}", without(fleet, one))
            for one in fleet
        ),
        never("deployer", configure, config, "larger machines", fleet | larger),
        never("deployer", configure, theirs(config), "another project's", fleet),
        *(
            line
            for action in ("sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint")
            for line in (
                may("deployer", action, endpoint, "its endpoint"),
                never("deployer", action, f"{endpoint}-2", "another endpoint"),
                never("deployer", action, theirs(config), "another project's"),
            )
        ),
        never("deployer", "sagemaker:DeleteEndpoint", endpoint, "people decide that"),
        may("deployer", "sagemaker:DeleteModel", model, "what is not used any more"),
        never("deployer", "sagemaker:DeleteModel", theirs(model), "another project's"),
        *(
            may("deployer", "iam:PassRole", names.role(one), "to SageMaker", passed)
            for one in CONTAINERS
        ),
        never(
            "deployer",
            "iam:PassRole",
            serving,
            "to another service",
            {"iam:PassedToService": "ec2.amazonaws.com"},
        ),
        never("deployer", "iam:PassRole", names.role("deployer"), "its own role", passed),
        *(
            never(who, create, model, "only the deployer", inside)
            for who in ROLES
            if who != "deployer"
        ),
        *(
            never(who, "sagemaker:InvokeEndpoint", endpoint, "who calls is yours to say")
            for who in ROLES
        ),
    ]


def registry(names: Names) -> list[Asked]:
    """As what a model is registered."""
    table = names.table
    group = table.arn("sagemaker", f"model-package-group/{names.prefix}")
    package = table.arn("sagemaker", f"model-package/{names.prefix}/7")
    theirs = package.replace(names.prefix, "theirs")
    status, update = "sagemaker:ModelApprovalStatus", "sagemaker:UpdateModelPackage"
    create = "sagemaker:CreateModelPackage"
    return [
        may("deployer", "sagemaker:CreateModelPackageGroup", group, "the project's"),
        may("deployer", create, package, "as its approvals say", {status: "Approved"}),
        never("deployer", create, theirs, "another project's", {status: "Approved"}),
        may("deployer", update, package, "withdrawn since", {status: "Rejected"}),
        never("deployer", update, theirs, "another project's", {status: "Rejected"}),
        never("deployer", update, package, "nobody approves by hand", {status: "Approved"}),
        never("deployer", "sagemaker:DeleteModelPackage", package, "what was registered stays"),
        never("auditor", update, package, "it changes nothing", {status: "Rejected"}),
        never("training", update, package, "no container approves", {status: "Approved"}),
    ]


def around(names: Names) -> list[Asked]:
    """What containers need of the account, and what tells how they do."""
    table, lines = names.table, []
    good, bad = (table.arn("ec2", f"subnet/{one}") for one in (table.subnets[0], "subnet-ffffffff"))
    card = table.arn("ec2", "network-interface/eni-0a1b2c3d")
    image = table.arn("ecr", f"repository/{table.repository}")
    streams = {
        "training": table.arn("logs", "log-group:/aws/sagemaker/TrainingJobs:log-stream:a"),
        "serving": table.arn(
            "logs", f"log-group:/aws/sagemaker/Endpoints/{names.endpoint}:log-stream:a"
        ),
    }
    spaces = {"training": "/aws/sagemaker/TrainingJobs", "serving": "/aws/sagemaker/Endpoints"}
    put, space, subnet = "cloudwatch:PutMetricData", "cloudwatch:namespace", "ec2:Subnet"
    for who in CONTAINERS:
        theirs = streams[who].replace("/sagemaker/", "/lambda/")
        lines += [
            may(who, "ecr:BatchGetImage", image, "the container"),
            never(who, "ecr:BatchGetImage", f"{image}-2", "another container"),
            never(who, "ecr:PutImage", image, "no container changes one"),
            may(who, "ecr:GetAuthorizationToken", "*", "the container"),
            may(who, "logs:PutLogEvents", streams[who], "its lines"),
            never(who, "logs:PutLogEvents", theirs, "others' lines"),
            may(who, put, "*", "its figures", {space: spaces[who]}),
            never(who, put, "*", "figures that alarms look at", {space: "AWS/SageMaker"}),
            may(who, "ec2:CreateNetworkInterface", good, "your subnet"),
            never(who, "ec2:CreateNetworkInterface", bad, "another subnet"),
            may(who, "ec2:DeleteNetworkInterface", card, "its interface", {subnet: good}),
            never(who, "ec2:DeleteNetworkInterface", card, "in another subnet", {subnet: bad}),
            never(
                who,
                "ec2:DeleteNetworkInterface",
                card.replace(table.region, "us-east-9"),
                "in another region",
                {subnet: good},
            ),
            may(who, "ec2:DescribeSubnets", "*", "where it is"),
        ]
    alarm = table.arn("cloudwatch", f"alarm:{names.endpoint}-errors")
    other = alarm.replace(names.endpoint, "theirs")
    return [
        *lines,
        never("deployer", "ecr:PutImage", image, "who builds is not who deploys"),
        may("deployer", "cloudwatch:PutMetricAlarm", alarm, "what takes an update back"),
        never("deployer", "cloudwatch:PutMetricAlarm", other, "others' alarms"),
        never("deployer", "cloudwatch:DeleteAlarms", alarm, "nobody silences it"),
        never("serving", "cloudwatch:PutMetricAlarm", alarm, "no container judges itself"),
    ]


def seen(names: Names) -> list[Asked]:
    """What can be looked at, and what nobody here can change."""
    table = names.table
    package = table.arn("sagemaker", f"model-package/{names.prefix}/7")
    describe, role = "sagemaker:DescribeModelPackage", names.role("auditor")
    place = f"arn:{table.partition}:iam::{table.account}:policy{table.path}"
    policy = f"{place}{names.prefix}-serving"
    return [
        *(
            line
            for who in ("deployer", "auditor")
            for line in (
                may(who, describe, package, "as what it is registered"),
                never(who, describe, package.replace(names.prefix, "theirs"), "another project's"),
            )
        ),
        may("auditor", "iam:GetRole", role, "who may do what"),
        never("auditor", "iam:GetRole", role.replace(names.prefix, "theirs"), "another project's"),
        may("auditor", "iam:GetPolicyVersion", policy, "who may do what"),
        never("auditor", "iam:GetPolicyVersion", f"{place}theirs", "another project's"),
        may("auditor", "cloudtrail:LookupEvents", "*", "who did what"),
        *(never(who, "iam:PutRolePolicy", role, "nobody here changes a role") for who in ROLES),
        *(never(who, "iam:UpdateAssumeRolePolicy", role, "nor who becomes it") for who in ROLES),
        *(never(who, "iam:CreatePolicyVersion", policy, "nor a policy") for who in ROLES),
    ]
