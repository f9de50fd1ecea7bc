"""Watching: what the gateway answered, what stands how high, and who has to know."""

from casemate.operations.watching.looking import Watch, once, report, show

__all__ = ["Watch", "once", "report", "show"]
