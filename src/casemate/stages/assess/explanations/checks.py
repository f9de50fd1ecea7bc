"""How far validation, new rows, behaviour and the table itself can be relied on."""

from casemate.stages.assess.explanations.terms import DELONG, INDEPENDENT, NO_INTERVAL, UNTESTED, of

CHECKS = (
    of(
        "cv_gap",
        "Cross-validation's mean less the hold-out's figure, with the hold-out's interval.",
        INDEPENDENT,
        "Stone, J. R. Statist. Soc. B 36 (1974)",
        "The spread of cross-validation itself: the finding allows for it, the gate's interval does"
        " not.",
        UNTESTED,
    ),
    of(
        "nested_cv",
        "Mean score of nested cross-validation, from the least to the greatest fold.",
        "folds that are drawn like the rows to come",
        "Cawley, Talbot, JMLR 11 (2010)",
        "Shift after training.",
        "It shows the spread of the folds, no 95 %.",
    ),
    of(
        "shift_auc",
        "AUC of a classifier that learns from one half to tell hold-out rows from training rows,"
        " and is asked about the other half; rows of a subject share a half.",
        INDEPENDENT,
        "Lopez-Paz, Oquab, ICLR (2017); " + DELONG,
        "Shifts too faint for the rows at hand; shifts of the label alone.",
        "As roc_auc, because the halves are independent.",
    ),
    of(
        "behaviour_failures",
        "Tests of [[assess.behaviour]] that more rows broke than tolerated.",
        "tests that say what matters",
        "Ribeiro et al., ACL (2020)",
        "What no test asks.",
        NO_INTERVAL,
    ),
    of(
        "rule_violations",
        "Rows that break a rule of [[data.rules]].",
        "rules that say what matters",
        "",
        "What no rule asks.",
        NO_INTERVAL,
    ),
    of(
        "drift",
        "Largest population stability index among columns that surely moved (chi-squared "
        "test at .001, Bonferroni), over bins of the reference: one for each frequent value "
        "or each of few, about twenty for the others, one below, one above, one for missing "
        "values.",
        "rows that are independent of one another, or subjects, where [data] subject names them",
        "Siddiqi, Credit Risk Scorecards (2006); Cochran, Biometrics 10 (1954); Rao, Scott, JASA 76"
        " (1981)",
        "Moves within a bin, and of columns together that no column shows alone.",
        "It has no interval. Tables that differ by chance were called drifted in 2 of 4 800"
        " simulated pairs.",
    ),
    of(
        "contamination",
        "Share of hold-out rows that repeat a training row in every feature and are one of more "
        "equal rows than chance makes (`repeated_rows` counts all).",
        "nothing but chance joins the answers of people who agree in all others",
        "Bishop, Fienberg, Holland, Discrete Multivariate Analysis (1975), chapter 6",
        "Copies that were changed, and a few copies of an answer that many give.",
        NO_INTERVAL,
    ),
    of(
        "leakage_auc",
        "The largest AUC of a shallow tree of one feature, cross-validated over rows, or over"
        " subjects, where [data] subject names them.",
        "",
        "Kaufman, Rosset, Perlich, Leakage in Data Mining (KDD 2011)",
        "Leaks that need many columns together.",
        UNTESTED,
    ),
    of(
        "minority_share",
        "Share of the rarest class.",
        "",
        "",
        "Whether the class is rare where the model will work.",
        NO_INTERVAL,
    ),
    of(
        "suspicious_share",
        "Share of rows that a screen put under suspicion.",
        "",
        "",
        "What no detector looks for.",
        NO_INTERVAL,
    ),
    of(
        "influence",
        "How much suspicious rows move the model.",
        "",
        "Koh, Liang, ICML (2017)",
        "Groups of rows that act together only.",
        UNTESTED,
    ),
)
"""Of validation, shift, behaviour and the table."""
