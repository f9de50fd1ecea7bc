"""The policies in force, and questions about them."""

from pathlib import Path

from casemate.controls.access.applied import PolicySet
from casemate.controls.access.explain import Expectation, Explainer, Explanation, read_table
from casemate.controls.access.policy import Decision, Policy
from casemate.controls.access.types import Principal
from casemate.operations.acting import operation, reading
from casemate.wiring import Wiring


@reading("access:read")
def show(project: Wiring) -> tuple[Policy, PolicySet]:
    """(the policies in force, the project's own as they were applied); AccessDenied: policy."""
    return project.point.policy, project.point.applied.newest()


@reading("access:read")
def history(project: Wiring) -> list[PolicySet]:
    """Who applied what when; AccessDenied: policy."""
    return project.point.applied.history()


@operation("policy:change")
def apply(project: Wiring) -> int:
    """Put the folder's policies in force; returns the number of the set.

    Raises:
        AccessDenied: whoever acts may not change policies. RefusedError: they would gain by it.
            ConfigError: a policy is wrong.
    """
    project.point.use_in_force()
    apply.ask(project)
    return project.point.apply()


@operation("access:read", also=("access:self",))
def explain(project: Wiring, question: Expectation) -> Explanation:
    """Why somebody may or may not do something; about oneself everybody may ask.

    Raises:
        AccessDenied: policy. ConfigError: the question makes no sense.
    """
    own = question.principal.removeprefix("User::") == project.point.identify().principal.name
    explain.ask(project, also="access:self" if own else None, unrecorded=True)
    return _explainer(project).explain(question)


@reading("access:read")
def who_can(project: Wiring, question: Expectation) -> list[tuple[Principal, Decision]]:
    """Everybody who may do something, and because of what; AccessDenied: policy."""
    return _explainer(project).who_can(question)


@reading("access:read")
def test(project: Wiring, table: Path) -> list[tuple[Expectation, Explanation, bool]]:
    """Hold the policies against a table of expectations: (asked, answer, as expected) of each.

    Raises:
        AccessDenied: policy. ConfigError: the table makes no sense.
    """
    return _explainer(project).test(read_table(table))


def _explainer(project: Wiring) -> Explainer:
    point = project.point
    policy = point.policy
    return Explainer(policy, point.applied.newest().texts, point.directory, point.situation())
