"""Incidents: what alerts make of themselves, and what people do about it."""

from casemate.operations.acting import Noun
from casemate.operations.incidents import erasing, handling, looking


class Incidents(Noun):
    """The incidents of a project, by their verbs."""

    list = looking.listing
    show = looking.show
    alerts = looking.alerts
    export = looking.export
    draft = looking.draft
    report = handling.report
    acknowledge = handling.acknowledge
    contain = handling.contain
    recover = handling.recover
    close = handling.close
    review = handling.review
    reopen = handling.reopen
    note = handling.note
    assign = handling.assign
    grade = handling.grade
    merge = handling.merge
    mute = handling.mute
    erase = erasing.erase
