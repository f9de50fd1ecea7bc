"""What an explanation has, and what many of them say."""

from casemate.core.types import Record


class Explanation(Record, frozen=True, kw_only=True):
    """What one figure stands on, what it cannot see, and where it is from."""

    figure: str
    """As gates name it."""
    estimator: str
    """How the figure and its interval come about."""
    assumes: str
    """What must hold for it to mean what it says."""
    source: str
    """Where the method was published."""
    blind: str
    """What it cannot see."""
    wrong: str
    """How often its 95 % interval misses the true figure."""


def missed(share: float, tables: str, worst: float, kind: str) -> str:
    """How often an interval missed: in percent of all simulated tables, and of the worst kind."""
    told = (
        f"{share:.1f} % of {tables} simulated tables of 200 to 100 000 rows, and {worst:.1f} % of"
        " the worst kind of up to 10 000 rows"
    )
    return f"{told} ({kind}); 5 % is meant."


INDEPENDENT = (
    "hold-out rows that are drawn like the rows to come, independent of one another and of"
    " training; of people with several rows people instead, whom [data] subject must name: then"
    " their rows are counted together and the interval is as wide as so many people make it"
)
NO_INTERVAL = "It has no interval: it is a count of the rows that there are, not an estimate."
UNTESTED = "The interval's coverage was not simulated."
DELONG = (
    "DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988); Brunner, Munzel, Biometrical Journal 42"
    " (2000); of subjects Obuchowski, Biometrics 53 (1997)"
)
CLOPPER = (
    "Clopper, Pearson, Biometrika 26 (1934); of subjects Korn, Graubard, Survey Methodology 24"
    " (1998)"
)
HALL = (
    "Hall, J. R. Statist. Soc. B 54 (1992): Student's t over the rows' influences, corrected for"
    " skewness"
)
SHARE_WRONG = (
    "Never more than 5 %, for any share and number of independent rows; less where few rows are"
    " right, or few are wrong. Of subjects with several rows 3 to 5 % of 1 600 simulated tables."
)
NAMED = (
    "0 to 3 % of 3 600 simulated tables of 100 to 1 000 rows a side; 5 % is meant. The upper end is"
    " some times the rate where there are few rows: 100 others hardly tell where 1 % of them is."
)
THRESHOLD = "; the interval has the noise of the threshold and that of the members"
NEWCOMBE = (
    "Newcombe, Statistics in Medicine 17 (1998), method 10; Zou, Donner, Statistics in Medicine 27"
    " (2008)"
)


def of(
    figure: str, estimator: str, assumes: str, source: str, blind: str, wrong: str
) -> Explanation:
    """The explanation of `figure`."""
    return Explanation(
        figure=figure, estimator=estimator, assumes=assumes, source=source, blind=blind, wrong=wrong
    )
