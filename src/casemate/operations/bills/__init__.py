"""Bills of materials of a project's models: show them, write them for others, signed."""

from casemate.operations.acting import Noun
from casemate.operations.bills.verbs import export, show


class Bills(Noun):
    """Bills of materials, by their verbs."""

    show = show
    export = export
