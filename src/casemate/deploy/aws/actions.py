"""What each principal may and may not do, as a table: people read it, and a simulator of IAM is
asked about every line of it.
"""

from casemate.deploy.aws import data, work
from casemate.deploy.aws.asked import Asked
from casemate.deploy.aws.names import Names


def actions(names: Names, key: str) -> list[Asked]:
    """Every line.

    Args:
        names: of the project.
        key: the ARN of the key.
    """
    return [
        *work.roles(names),
        *data.objects(names, key),
        *data.audit(names, key),
        *data.of_key(names, key),
        *work.containers(names, key),
        *work.registry(names),
        *work.around(names),
        *work.seen(names),
    ]
