"""What can be rendered. A target is one entry of `TARGETS`: CONTRIBUTING.md says how to add one."""

from casemate.deploy.interface import Given, Option, Rendering, Target

PYTHON = "/usr/bin/python3"
LEAD = "unix:/run/casemate/lead.sock"
WORK = "/var/spool/rsyslog/casemate"
"""Where a Debian's rsyslog may write."""


def _prometheus(given: Given) -> Rendering:
    from casemate.core.errors import ConfigError
    from casemate.core.home import keystore_folder
    from casemate.deploy import prometheus

    config = given.config
    authority = keystore_folder(config.project.id) / "public" / "ca.pem"
    if not authority.is_file():
        raise ConfigError(
            f"there is no {authority}", hint="render where the project's key store is"
        )
    where = given.options.get("address") or f"{config.serve.host}:{config.serve.port}"
    files = prometheus.render(config, authority.read_bytes(), where)
    if config.slo:
        return Rendering(files)
    return Rendering(
        files, notes=("no [slo] in casemate.toml: only alerts about the service itself",)
    )


def _elasticsearch(given: Given) -> Rendering:
    from casemate.deploy import elasticsearch

    return Rendering(elasticsearch.render(given.config))


def _rsyslog(given: Given) -> Rendering:
    from casemate.deploy import rsyslog

    options = given.options
    return Rendering(
        rsyslog.render(given.config, given.root, options.get("url"), options.get("work", WORK))
    )


def _gitlab(given: Given) -> Rendering:
    from casemate.deploy import gitlab

    return gitlab.render(given)


def _jenkins(given: Given) -> Rendering:
    from casemate.deploy import jenkins

    return jenkins.render(given)


def _github(given: Given) -> Rendering:
    from casemate.deploy import github

    return github.render(given)


def _kubeflow(given: Given) -> Rendering:
    from casemate.deploy import kubeflow

    return kubeflow.render(given)


def _dockerfile(given: Given) -> Rendering:
    from casemate.core.errors import ConfigError
    from casemate.deploy.gateway import dockerfile

    options = given.options
    missing = [name for name in ("base", "builder", "lock") if not options.get(name)]
    if missing:
        raise ConfigError(
            "a Dockerfile needs " + ", ".join(f"--{name}" for name in missing),
            hint="images by their digests: NAME@sha256:...",
        )
    # relative to the project, so that `check` finds the same from wherever it is called
    locks = [given.root / name for name in options["lock"].split(",")]
    for lock in locks:
        if not lock.is_file():
            raise ConfigError(f"no such file: {lock}", hint="a requirements file with hashes")
    files = dockerfile(options["base"], options["builder"], locks, options.get("python", PYTHON))
    return Rendering(files, notes=("put the wheels into its folder wheels, and build",))


def _kubernetes(given: Given) -> Rendering:
    from casemate.deploy import kubernetes

    return kubernetes.render(given)


def _iam(given: Given) -> Rendering:
    from casemate.deploy.aws import iam

    return iam.render(given)


def _sagemaker(given: Given) -> Rendering:
    from casemate.deploy.aws import sagemaker

    return sagemaker.render(given)


def _gitlab_dangers(_name: str, content: bytes) -> list[str]:
    from casemate.deploy import gitlab

    return gitlab.dangers(content)


def _kserve(given: Given) -> Rendering:
    from casemate.deploy import kserve

    return kserve.render(given)


def _kubernetes_dangers(name: str, content: bytes) -> list[str]:
    from casemate.deploy.kubernetes import dangers

    return dangers.found(name, content)


def _kubernetes_unfit(given: Given, name: str, content: bytes) -> list[str]:
    from casemate.deploy.kubernetes import dangers

    return dangers.unfit(given, name, content)


def _jenkins_dangers(_name: str, content: bytes) -> list[str]:
    from casemate.deploy import jenkins

    return jenkins.dangers(content)


def _github_dangers(_name: str, content: bytes) -> list[str]:
    from casemate.deploy import github

    return github.dangers(content)


def _iam_dangers(name: str, content: bytes) -> list[str]:
    from casemate.deploy.aws import policies

    return policies.dangers(name, content)


def _aws_dangers(name: str, content: bytes) -> list[str]:
    from casemate.deploy.aws.dangers import dangers

    return dangers(name, content)


def _aws_unfit(given: Given, name: str, content: bytes) -> list[str]:
    from casemate.deploy.aws.dangers import unfit

    return unfit(given, name, content)


def _kubeflow_dangers(_name: str, content: bytes) -> list[str]:
    from casemate.deploy import kubeflow

    return kubeflow.dangers(content)


def _flower(given: Given) -> Rendering:
    from casemate.deploy import flower

    return flower.render(given)


TARGETS = {
    "prometheus": Target(
        "scraping, alert rules with their tests, Alertmanager, a Grafana dashboard",
        _prometheus,
        "README.md",
        (Option("address", "of the gateway (default: [serve] host and port)", "HOST:PORT"),),
    ),
    "elasticsearch": Target(
        "the index template of log lines, and a key that may only add some",
        _elasticsearch,
        "README.md",
    ),
    "rsyslog": Target(
        "an rsyslog that takes the lines of a file to Elasticsearch",
        _rsyslog,
        "README.md",
        (
            Option("url", "of Elasticsearch (default: that of the first such sink)", "URL"),
            Option("work", f"that rsyslog may write to (default: {WORK})", "FOLDER", WORK),
        ),
    ),
    "gitlab": Target(
        "a pipeline for GitLab CI, with approval before a model is let out",
        _gitlab,
        ".gitlab-ci.yml",
        dangers=_gitlab_dangers,
    ),
    "jenkins": Target(
        "a declarative Jenkinsfile that does the same",
        _jenkins,
        "Jenkinsfile",
        dangers=_jenkins_dangers,
    ),
    "github": Target(
        "a workflow for GitHub Actions that does the same",
        _github,
        ".github/workflows/casemate.yml",
        dangers=_github_dangers,
    ),
    "kubernetes": Target(
        "a kustomize base and overlays: a gateway that verifies before it starts, and its watcher",
        _kubernetes,
        "base/kustomization.yaml",
        dangers=_kubernetes_dangers,
        unfit=_kubernetes_unfit,
    ),
    "kserve": Target(
        "a ServingRuntime and an InferenceService of KServe for the same gateway",
        _kserve,
        "kustomization.yaml",
        dangers=_kubernetes_dangers,
        unfit=_kubernetes_unfit,
    ),
    "kubeflow": Target(
        "pipelines for Kubeflow, each stage a component; letting a model out is one of its own",
        _kubeflow,
        "pipeline.py",
        (
            Option("image", "of every step, with casemate, kfp and sh", "NAME@sha256:DIGEST"),
            Option(
                "claim",
                "of the volume with project and keys (default: casemate)",
                "NAME",
                "casemate",
            ),
            Option("mount", "where that volume is (default: /casemate)", "PATH", "/casemate"),
        ),
        dangers=_kubeflow_dangers,
    ),
    "dockerfile": Target(
        "the gateway's image for those who build elsewhere; `image gateway` writes it itself",
        _dockerfile,
        "Dockerfile",
        (
            Option("base", "of the image, with Python", "NAME@sha256:DIGEST"),
            Option("builder", "with the same Python and pip", "NAME@sha256:DIGEST"),
            Option(
                "lock",
                "requirements files with hashes, from the project's folder, separated by commas",
                "FILES",
            ),
            Option("python", f"the interpreter in the base (default: {PYTHON})", "PATH", PYTHON),
        ),
    ),
    "flower": Target(
        "a Flower app that carries what sites of a federation and their coordinator say",
        _flower,
        "README.md",
        (
            Option(
                "lead",
                f"where `federate lead` listens, for Flower's ServerApp (default: {LEAD})",
                "HOST:PORT",
                LEAD,
            ),
        ),
    ),
    "iam": Target(
        "roles, key and buckets in AWS, each principal with what it needs and no more",
        _iam,
        "access.yaml",
        dangers=_iam_dangers,
    ),
    "sagemaker": Target(
        "requests to SageMaker for training, registry and endpoint, and its container",
        _sagemaker,
        "README.md",
        (Option("model", "an exported model, from the project's folder", "FOLDER"),),
        _aws_dangers,
        _aws_unfit,
    ),
}
"""By the word on the command line."""
