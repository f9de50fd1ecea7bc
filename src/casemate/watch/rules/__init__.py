"""Rules over log lines, in the Sigma format (https://sigmahq.io, version 2 of the specification).

`Rules(folder).judge(lines)` says which rules match. Single lines are judged by the SQL that pySigma
and its SQLite back end make of a rule, on a table in memory (`table`); what is counted over a span
of time is counted here (`windows`). What a rule may say is in `meaning`.
"""

from casemate.watch.rules.judging import Match, Rules
from casemate.watch.rules.reading import STARTER
from casemate.watch.rules.rule import Counted, Fault, Rule

__all__ = ["STARTER", "Counted", "Fault", "Match", "Rule", "Rules"]
