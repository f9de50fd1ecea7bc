"""Every module that declares tables of the catalogue: importing this one declares them all.

A table that is declared nowhere else than in a module nobody has imported is missing from a copy, a
count or a search of the whole catalogue. `tests/unit/core/test_tables.py` compares this list with
what the migrations make.
"""

import casemate.controls.access.anomalies
import casemate.controls.access.applied
import casemate.controls.access.identity.accounts
import casemate.controls.access.identity.factors
import casemate.controls.access.identity.grants
import casemate.controls.access.identity.registered
import casemate.controls.access.identity.sessions
import casemate.controls.access.identity.tokens
import casemate.controls.access.usage
import casemate.controls.audit.bodies
import casemate.controls.audit.entries
import casemate.controls.audit.feedback
import casemate.controls.audit.predictions
import casemate.controls.federation.rounds
import casemate.controls.keys.certificates
import casemate.controls.keys.compromises
import casemate.controls.keys.recipients
import casemate.controls.keys.subjectrows
import casemate.controls.keys.subjects
import casemate.controls.privacy.aliases
import casemate.controls.privacy.budget
import casemate.controls.privacy.consents
import casemate.controls.privacy.erasures
import casemate.core.lease
import casemate.core.outbox.queue
import casemate.core.steps
import casemate.core.store.digesttable
import casemate.respond.findings
import casemate.respond.holds
import casemate.respond.playbooks.runs
import casemate.respond.requests.tables
import casemate.respond.tables
import casemate.respond.trackers.followed
import casemate.respond.trackers.remembered
import casemate.stages.data.review
import casemate.stages.release.approval
import casemate.stages.release.registry
import casemate.stages.release.retrainings
import casemate.stages.release.rollout
import casemate.stages.release.waiver  # noqa: F401
