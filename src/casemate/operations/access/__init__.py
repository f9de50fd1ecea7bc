"""Who may do what: every change is decided by policy, done and logged in one transaction, seen
everywhere within a second.
"""

from casemate.operations.access import logins, machines, people, policies
from casemate.operations.access import review as reviewing
from casemate.operations.acting import Noun


class Access(Noun):
    """People, services, sessions and policies of a project, by their verbs."""

    whoami = logins.whoami
    factors = logins.factors
    add_factor = logins.add_factor
    confirm_factor = logins.confirm_factor
    remove_factors = logins.remove_factors
    sessions = logins.sessions
    end_session = logins.end_session
    end_sessions = logins.end_sessions

    list = people.listing
    roles = people.roles
    add_user = people.add_user
    set_password = people.set_password
    disable_user = people.disable_user
    suspend = people.suspend
    resume = people.resume
    define_role = people.define_role
    grant = people.grant
    withdraw = people.withdraw
    delegate = people.delegate
    break_glass = people.break_glass

    services = machines.services
    add_service = machines.add_service
    remove_service = machines.remove_service
    tokens = machines.tokens
    create_token = machines.create_token
    revoke_token = machines.revoke_token

    show_policies = policies.show
    policy_history = policies.history
    apply_policies = policies.apply
    explain = policies.explain
    who_can = policies.who_can
    test_policies = policies.test

    findings = reviewing.findings
    close_finding = reviewing.close_finding
    review = reviewing.report
    close_review = reviewing.close_review
