"""Progress of what may run for days where nobody looks: in a service's log."""

from casemate.cli.output import printable
from casemate.core.progress import Lines


class Spoken(Lines):
    """Lines that also tell a log what is waited for, once each time that it changes."""

    _told = ""

    def progress(self, text: str, done: int, total: int) -> None:
        """See `supply.context.Reporter`; the text may quote another owner's words."""
        text = printable(text)
        super().progress(text, done, total)
        if not self.live and text != self._told:
            self._told = text
            self.say(text)
