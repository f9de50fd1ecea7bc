"""What callers and people say of answers: take it, show it, and judge whether it may teach."""

from typing import TYPE_CHECKING

from casemate.operations.acting import Noun
from casemate.operations.feedback.adding import add
from casemate.operations.feedback.kept import listing, show, sources

if TYPE_CHECKING:
    from casemate.operations.feedback.screening import Screened

__all__ = ["FeedbackOf", "add", "listing", "show", "sources"]


class FeedbackOf(Noun):
    """The feedback of a project, by its verbs."""

    add = add
    list = listing
    show = show
    sources = sources

    def screen(self) -> "Screened":
        """See `operations.feedback.screening.screen`."""
        from casemate.operations.feedback.screening import screen

        return screen(self.project)
