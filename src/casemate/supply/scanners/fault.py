"""What a scanner says that cannot look."""

from casemate.core.errors import BackendError


class CouldNotLook(BackendError):
    """A scanner is absent, crashed, took too long, or printed something else than it documents; or
    what it is to look at is not there.
    """

    code = "CM-SCANNER"
    who = "whoever runs this machine: see that the scanner is there and works"
