"""The log store of a project: what was done, asked and alarmed, to be searched."""

from casemate.operations.logs.verbs import Logs

__all__ = ["Logs"]
