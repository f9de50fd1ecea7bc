"""Every command is the face of one operation; a command without one touches no project, or one in
which nobody can be asked yet.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from casemate.core.imports import uncollected

if TYPE_CHECKING:
    from casemate.operations.acting import Operation
    from casemate.operations.project import Project

COMMANDS: dict[str, str | None] = {
    "init": None,
    "verify": None,
    "doctor": None,
    "completion": None,
    "config check": None,
    "config show": None,
    "config schema": None,
    "run": "runs.run",
    "runs": "runs.listing",
    "runs list": "runs.listing",
    "runs show": "runs.show",
    "runs cancel": "runs.cancel",
    "runs export": "results.export",
    "status": "status.status",
    "data list": "dataset.Datasets.all",
    "data show": "dataset.Dataset.show",
    "data diff": "dataset.Dataset.to_arrow",
    "check": "checkup.assess_data",
    "data check": "checkup.assess_data",
    "data statistics": "dataset.Dataset.noisy",
    "data quarantine list": "dataset.Dataset.suspects",
    "data quarantine release": "dataset.Dataset.review",
    "data quarantine drop": "dataset.Dataset.review",
    "model list": "models.listing",
    "model show": "models.show",
    "model export": "models.export",
    "model approve": "models.approve",
    "model waive": "models.waive",
    "model unwaive": "models.unwaive",
    "model promote": "models.promote",
    "model rollback": "models.rollback",
    "model import": "checkup.import_model",
    "image model": "images.write",
    "image withdrawn": "images.withdrawn",
    "image gateway": None,
    "assess": "checkup.assess",
    "privacy budget": "privacy.budget",
    "privacy affected": "rights.affected.affected",
    "privacy erase": "rights.erase.erase",
    "privacy alias": "persons.alias",
    "privacy request open": "rights.requests.begin",
    "privacy request list": "rights.requests.listing",
    "privacy request show": "rights.requests.show",
    "privacy request decide": "rights.requests.decide",
    "privacy request model": "rights.requests.decide_model",
    "privacy request fulfil": "rights.fulfilment.fulfil",
    "privacy request certificate": "rights.certificates.certificate",
    "privacy record list": "rights.records.writing.listing",
    "privacy record show": "rights.records.writing.show",
    "privacy record write": "rights.records.writing.write",
    "privacy record verify": "rights.records.writing.verify",
    "privacy consent import": "rights.consent.add",
    "privacy consent show": "rights.consent.show",
    "privacy consent withdraw": "rights.consent.withdraw",
    "privacy consent export": "rights.consent.export",
    "privacy retention plan": "terms.plan",
    "privacy retention apply": "terms.apply",
    "privacy scan": None,
    "privacy deidentify": None,
    "privacy unseal": None,
    "privacy key": None,
    "serve": "gateways.begin",
    "explain": "serve.explain.explain",
    "predict": "access.machines.create_token",
    "watch": "watching.looking.once",
    "watch once": "watching.looking.once",
    "watch show": "watching.looking.show",
    "watch report": "watching.looking.report",
    "logs search": "logs.verbs.search",
    "logs tail": "logs.verbs.after",
    "logs stats": "logs.verbs.stats",
    "logs sql": "logs.verbs.sql",
    "logs erase": "logs.verbs.erase",
    "sinks send": "sinks.send",
    "sinks status": "sinks.status",
    "sinks check": "sinks.check",
    "feedback add": "feedback.adding.add",
    "feedback list": "feedback.kept.listing",
    "feedback show": "feedback.kept.show",
    "feedback sources": "feedback.kept.sources",
    "feedback screen": "feedback.screening.screen",
    "retrain plan": "retraining.planning.plan",
    "retrain list": "retraining.planning.listing",
    "retrain run": "retraining.running.run",
    "retrain demand": "demands.demand",
    "retrain go-on": "retraining.running.go_on",
    "incident list": "incidents.looking.listing",
    "incident show": "incidents.looking.show",
    "incident alerts": "incidents.looking.alerts",
    "incident ack": "incidents.handling.acknowledge",
    "incident contain": "incidents.handling.contain",
    "incident recover": "incidents.handling.recover",
    "incident close": "incidents.handling.close",
    "incident review": "incidents.handling.review",
    "incident reopen": "incidents.handling.reopen",
    "incident note": "incidents.handling.note",
    "incident assign": "incidents.handling.assign",
    "incident severity": "incidents.handling.grade",
    "incident merge": "incidents.handling.merge",
    "incident erase": "incidents.erasing.erase",
    "incident mute": "incidents.handling.mute",
    "incident export": "incidents.looking.export",
    "incident report": "incidents.handling.report",
    "playbook copy": None,
    "playbook check": "playbooks.forces.check",
    "playbook apply": "playbooks.forces.apply",
    "playbook list": "playbooks.forces.listing",
    "playbook show": "playbooks.forces.show",
    "playbook run": "playbooks.carrying.run",
    "playbook runs": "playbooks.carrying.listing",
    "playbook resume": "playbooks.carrying.resume",
    "playbook approve": "playbooks.deciding.approve",
    "playbook undo": "playbooks.deciding.undo",
    "hold list": "holds.listing",
    "hold place": "holds.place",
    "hold lift": "holds.lift",
    "controls list": "controls.verbs.listing",
    "controls check": "controls.verbs.check",
    "controls show": "controls.verbs.show",
    "evidence": "controls.packing.pack",
    "deploy prometheus": None,
    "deploy elasticsearch": None,
    "deploy rsyslog": None,
    "deploy gitlab": None,
    "deploy jenkins": None,
    "deploy github": None,
    "deploy kubeflow": None,
    "deploy dockerfile": None,
    "deploy check": None,
    "deploy status": None,
    "watch drift": None,
    "watch estimate": None,
    "watch detect": None,
    "watch forecast": None,
    "logs rules check": None,
    "logs rules list": None,
    "logs rules test": None,
    "access whoami": "access.logins.whoami",
    "access login": None,
    "access logout": None,
    "access step-up": "access.logins.whoami",
    "access list": "access.people.listing",
    "access actions": None,
    "access user add": "access.people.add_user",
    "access user password": "access.people.set_password",
    "access user disable": "access.people.disable_user",
    "access suspend": "access.people.suspend",
    "access resume": "access.people.resume",
    "access role list": "access.people.roles",
    "access role define": "access.people.define_role",
    "access role grant": "access.people.grant",
    "access role withdraw": "access.people.withdraw",
    "access role delegate": "access.people.delegate",
    "access factor add": "access.logins.add_factor",
    "access factor confirm": "access.logins.confirm_factor",
    "access factor list": "access.logins.factors",
    "access factor remove": "access.logins.remove_factors",
    "access session list": "access.logins.sessions",
    "access session end": "access.logins.end_session",
    "access token create": "access.machines.create_token",
    "access token list": "access.machines.tokens",
    "access token revoke": "access.machines.revoke_token",
    "access service add": "access.machines.add_service",
    "access service list": "access.machines.services",
    "access service remove": "access.machines.remove_service",
    "access policy show": "access.policies.show",
    "access policy history": "access.policies.history",
    "access policy schema": None,
    "access policy apply": "access.policies.apply",
    "access explain": "access.policies.explain",
    "access who-can": "access.policies.who_can",
    "access test": "access.policies.test",
    "access break-glass": "access.people.break_glass",
    "access finding list": "access.review.findings",
    "access finding close": "access.review.close_finding",
    "access review report": "access.review.report",
    "access review close": "access.review.close_review",
    "audit show": "audit.entries",
    "audit verify": "audit.verify",
    "audit prove": "audit.prove",
    "audit cosign": "audit.cosign",
    "audit copy": "audit.copy",
    "audit resolve": "audit.resolve",
    "audit witness init": None,
    "audit witness trust": None,
    "audit witness serve": None,
    "tracker list": "trackers.listing",
    "tracker check": "trackers.check",
    "tracker read": "trackers.read",
    "outbox list": "outbox.listing",
    "outbox show": "outbox.show",
    "outbox send": "outbox.deliver",
    "outbox retry": "outbox.deliver",
    "store show": "store.show",
    "store upgrade": "store.upgrade",
    "store migrate": "store.move",
    "store objects": "store.move_objects",
    "fsck": "fsck.examine",
    "gc": "retention.collect",
    "backup create": "backup.creation.create",
    "backup verify": None,
    "backup keygen": None,
    "backup recipients list": "backup.recipients.receivers",
    "backup recipients add": "backup.recipients.add_recipient",
    "backup recipients remove": "backup.recipients.remove_recipient",
    "backup restore": "backup.subjects.restore_subjects",
    "backup subjects": "backup.subjects.restore_subjects",
    "keys list": "keys.looking.listing",
    "keys show": "keys.looking.show",
    "keys rotate": "keys.rotation.rotate",
    "keys disable": "keys.rotation.disable",
    "keys enable": "keys.rotation.enable",
    "keys destroy": "keys.rotation.destroy",
    "keys protect": "keys.custody.protect",
    "keys recover": None,
    "keys restore": None,
    "keys shred": "keys.erasure.erase",
    "keys migrate": "keys.rotation.migrate",
    "keys backup": "keys.custody.save",
    "keys signer list": "keys.looking.signers",
    "keys signer rotate": "keys.rotation.new_signer",
    "keys signer distrust": "keys.rotation.distrust",
    "keys certificate issue": "keys.custody.issue",
    "keys certificate renew": "keys.custody.renew",
    "keys certificate list": "keys.looking.certificates",
    "keys certificate revoke": "keys.custody.revoke",
    "keys certificate crl": "keys.looking.revocations",
}
"""Every command that there is, and the operation that it asks for; see
`operations.acting.OPERATIONS`.
"""


def registry() -> "dict[str, Operation[..., Any]]":
    """Every operation of the product by its name; imports all of them, so it is for tests and the
    reference.
    """
    import casemate.operations
    from casemate.operations.acting import OPERATIONS

    for module in pkgutil.walk_packages(casemate.operations.__path__, "casemate.operations."):
        importlib.import_module(module.name)
    importlib.import_module("casemate.serve.explain")
    return OPERATIONS


def name_of(arguments: Any) -> str:
    """The command, such as `keys signer list`."""
    words = [arguments.verb, getattr(arguments, "action", None), getattr(arguments, "what", None)]
    return " ".join(word for word in words if word)


def open_for(
    arguments: Any, *, check: bool = True, overrides: list[str] | None = None
) -> "Project":
    """The project that the command works on; what is asked of it is decided by its operations.

    Args:
        arguments: as parsed.
        check: off only for what repairs or upgrades a catalogue.
        overrides: instead of the command line's.
    """
    with uncollected(for_good=True):
        from casemate.operations.project import open_project

    return open_project(
        arguments.config, arguments.overrides if overrides is None else overrides, check=check
    )
