"""Playbooks: put in force, begun, carried out, proven, approved, taken back."""

from casemate.operations.acting import Noun
from casemate.operations.playbooks import carrying, deciding, forces, planning


class Playbooks(Noun):
    """The playbooks of a project, by their verbs."""

    check = forces.check
    apply = forces.apply
    list = forces.listing
    show = forces.show
    plan = planning.plan
    run = carrying.run
    runs = carrying.listing
    resume = carrying.resume
    approve = deciding.approve
    undo = deciding.undo
