"""What each figure that a gate may name stands on, and what it cannot see.

The shares of wrong intervals are those of `bench/assurance/figures.py --scale 0.4`: kinds of 100
000 rows have 120 tables each, too few to name the worst of them.
"""

import difflib

from casemate.core.errors import ConfigError
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


TITLES = {
    "figure": "figure",
    "estimator": "estimator",
    "assumes": "assumes",
    "source": "source",
    "blind": "cannot see",
    "wrong": "interval wrong",
}
"""What the parts of an explanation are called where people read them."""


def explain(figure: str) -> Explanation:
    """What `figure` stands on.

    Args:
        figure: a name of `config.FIGURES`, or `TABLE.FIGURE`.

    Raises:
        ConfigError: no gate can name it.
    """
    name = figure.rpartition(".")[2]
    if name not in EXPLANATIONS:
        close = difflib.get_close_matches(name, EXPLANATIONS, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(EXPLANATIONS)}"
        raise ConfigError(f"no gate can name a figure {figure!r}", hint=hint)
    return EXPLANATIONS[name]


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


def _of(
    figure: str, estimator: str, assumes: str, source: str, blind: str, wrong: str
) -> Explanation:
    return Explanation(
        figure=figure, estimator=estimator, assumes=assumes, source=source, blind=blind, wrong=wrong
    )


_ALL = (
    _of(
        "accuracy",
        "Share of rows whose label is right; Clopper-Pearson's exact interval.",
        INDEPENDENT,
        CLOPPER,
        "Rare classes: always answering the common one can look good.",
        SHARE_WRONG,
    ),
    _of(
        "balanced_accuracy",
        "Mean of the classes' recalls; the interval from Wilson's of each recall.",
        INDEPENDENT,
        NEWCOMBE,
        "How good the order of the probabilities is; how rare a class is where the model will"
        " work.",
        missed(5.0, "7 680", 6.5, "200 rows, 50 % positives, too sure"),
    ),
    _of(
        "f1",
        "2s / (1 + s) of the share s of true positives among rows that are positive or "
        "called so, with s's exact interval; of several classes the mean of theirs, with the "
        "interval of the rows' influences on the logit scale.",
        INDEPENDENT,
        "Clopper, Pearson, Biometrika 26 (1934); " + HALL,
        "True negatives; how sure the model is.",
        missed(3.5, "7 680", 5.6, "200 rows, 50 % positives, too sure"),
    ),
    _of(
        "roc_auc",
        "Mann-Whitney statistic, ties half; DeLong's variance with one more row a class, on "
        "the logit scale, with Satterthwaite's degrees of freedom; of several classes the "
        "mean of one against the rest.",
        INDEPENDENT,
        DELONG,
        "Whether the probabilities are right, and whether few alarms are good ones: with rare"
        " positives look at average_precision.",
        missed(4.6, "7 680", 5.4, "1 000 rows, 50 % positives"),
    ),
    _of(
        "average_precision",
        "Mean precision at the positives' scores; the rows' influences on the logit scale, "
        "with as many degrees of freedom as positives, around the figure less half its "
        "small-sample bias.",
        INDEPENDENT + "; the same share of positives",
        "Boyd, Eng, Page, ECML PKDD (2013), for the logit scale",
        "It moves with the share of positives, so tables with other shares do not compare.",
        missed(5.0, "7 680", 6.2, "1 000 rows, 50 % positives"),
    ),
    _of(
        "log_loss",
        "Mean of -log of the true class's probability, cut at the float's precision.",
        INDEPENDENT,
        HALL,
        "One row that is surely wrong weighs as much as many: a hold-out without such a row cannot"
        " tell of it.",
        missed(4.6, "7 680", 7.0, "10 000 rows, 2 % positives"),
    ),
    _of(
        "brier",
        "Mean squared error of the probability; of several classes the sum over them.",
        INDEPENDENT,
        HALL,
        "It mixes order and calibration; with rare positives nearly everything is small.",
        missed(4.2, "7 680", 6.0, "10 000 rows, 2 % positives"),
    ),
    _of(
        "calibration_error",
        "Root mean squared gap between what was said and what happened, over ten parts of as "
        "many rows each, less the gaps' noise; the interval holds every error under which "
        "the sum of squared gaps is no surprise (noncentral chi-squared).",
        INDEPENDENT,
        "Bröcker, Climate Dynamics 39 (2012); Kumar, Liang, Ma, NeurIPS (2019)",
        "Gaps that cancel within a part; calibration within a group.",
        missed(3.5, "7 680", 6.8, "1 000 rows, 2 % positives, too sure"),
    ),
    _of(
        "cost",
        "Mean cost of an answer: nothing where it is right, else what [train] costs says of the"
        " row's class.",
        INDEPENDENT,
        HALL,
        "Costs that depend on more than the class. A cost of which most rows have none moves by a"
        " few rows.",
        UNTESTED,
    ),
    _of(
        "quadratic_kappa",
        "Cohen's weighted kappa: agreement beyond chance, where a miss counts by the square of its"
        " distance in the order of the classes; bootstrap.",
        INDEPENDENT,
        "Cohen, Psychological Bulletin 70 (1968); Efron, JASA 82 (1987)",
        "It takes classes for equally far apart, and depends on how frequent they are: tables with"
        " other shares do not compare.",
        UNTESTED,
    ),
    _of(
        "rank_error",
        "Mean number of classes by which the label misses the truth, in their declared order.",
        INDEPENDENT,
        HALL,
        "The direction of the misses; classes count as equally far apart.",
        UNTESTED,
    ),
    _of(
        "pinball_loss",
        "Mean pinball loss of the predicted quantile: a miss below the truth weighs as much as the"
        " quantile says, one above as the rest.",
        INDEPENDENT,
        HALL,
        "Whether the share of rows below is right everywhere: look at quantile_coverage, and at"
        " slices.",
        UNTESTED,
    ),
    _of(
        "quantile_coverage",
        "Share of rows whose quantity is at most what was predicted; of a right quantile of 0.9 it"
        " is 0.9. Clopper-Pearson's exact interval.",
        INDEPENDENT,
        CLOPPER,
        "How far off the others are: one number for all rows can have the right share.",
        SHARE_WRONG,
    ),
    _of(
        "worst_slice_accuracy",
        "Least accuracy of a slice of at least 20 rows; the low end is the least one of all slices,"
        " the high end is corrected for their number.",
        INDEPENDENT,
        CLOPPER + "; Berger, Technometrics 24 (1982)",
        "Slices by two columns together, and columns with more than 20 values that [assess] "
        "slices does not name. The value itself is too low, more so with many small slices.",
        missed(1.9, "2 120", 3.1, "1 000 rows, 4 slices"),
    ),
    _of(
        "r2",
        "1 - squared error over variance; what leaving a row out changes in log(1 - R²), Student's"
        " t by kurtosis; of several quantities the mean.",
        INDEPENDENT + "; errors without extreme outliers",
        "Miller, Annals of Mathematical Statistics 39 (1968); O'Neill, The American Statistician 68"
        " (2014); " + HALL,
        "Whether errors are large where it matters; a wider range of the target raises it by"
        " itself.",
        missed(5.0, "29 300", 6.4, "200 rows, Student's errors with 5 degrees"),
    ),
    _of(
        "rmse",
        "Root of the mean squared error; of several quantities the mean, in deviations.",
        INDEPENDENT + "; errors without extreme outliers",
        HALL,
        "Outliers that the hold-out does not hold, and those that it holds weigh most.",
        missed(4.7, "29 300", 5.9, "2 000 rows, Student's errors with 5 degrees"),
    ),
    _of(
        "mae",
        "Mean absolute error; of several quantities the mean, in deviations.",
        INDEPENDENT,
        HALL,
        "Few large errors among many small ones.",
        missed(5.4, "2 120", 7.0, "10 000 rows"),
    ),
    _of(
        "median_absolute_error",
        "Median absolute error with the interval between order statistics; of several quantities"
        " the mean of theirs, by bootstrap.",
        INDEPENDENT,
        "Thompson, Annals of Mathematical Statistics 7 (1936); Efron, JASA 82 (1987)",
        "The larger half of the errors.",
        missed(4.2, "2 120", 5.0, "10 000 rows"),
    ),
    _of(
        "worst_target_r2",
        "The least R² of the quantities; of one quantity its R², of several by bootstrap (BCa).",
        INDEPENDENT,
        "Efron, JASA 82 (1987)",
        "Which of two quantities is worse by chance.",
        missed(5.0, "5 300", 5.4, "10 000 rows, one quantity"),
    ),
    _of(
        "worst_slice_mae",
        "Greatest mean absolute error of a slice of at least 20 rows; see worst_slice_accuracy.",
        INDEPENDENT,
        HALL + "; Berger, Technometrics 24 (1982)",
        "As worst_slice_accuracy; the value itself is too high.",
        UNTESTED,
    ),
    _of(
        "demographic_parity_difference",
        "Largest difference of the selection rate between two groups. Its low end is sure "
        "for all pairs of groups together, its high end is the largest that any pair allows.",
        INDEPENDENT + "; groups of at least 20 rows, smaller ones together",
        NEWCOMBE + "; Berger, Technometrics 24 (1982)",
        "Whether a difference is deserved; groups by two columns together. The value "
        "(fairlearn's) is too large with many small groups, the interval is not.",
        missed(4.5, "6 880", 5.8, "200 rows, 2 groups, rates 0.3 to 0.5"),
    ),
    _of(
        "equalized_odds_difference",
        "The larger of the largest differences of the true and of the false positive rate, "
        "as demographic_parity_difference; inconclusive where a group has fewer than 20 rows "
        "of a class.",
        INDEPENDENT + "; labels that are right for every group",
        "Hardt, Price, Srebro, NeurIPS (2016); " + NEWCOMBE,
        "Bias in the labels themselves. The value (fairlearn's) is too large with many small"
        " groups, the interval is not.",
        missed(3.2, "6 880", 6.1, "200 rows, 2 groups, rates 0.4 to 0.4"),
    ),
    _of(
        "mean_prediction_difference",
        "Largest difference of the mean prediction between two groups, in deviations of the"
        " target.",
        INDEPENDENT,
        "Agarwal, Dudík, Wu, ICML (2019); " + HALL,
        "Differences in spread with equal means.",
        UNTESTED,
    ),
    _of(
        "absolute_error_difference",
        "Largest difference of the mean absolute error between two groups, in deviations of the"
        " target.",
        INDEPENDENT,
        "Agarwal, Dudík, Wu, ICML (2019); " + HALL,
        "The direction of the errors.",
        UNTESTED,
    ),
    _of(
        "robust_accuracy",
        "Share of attacked rows that stay right under every attack that was run, at an attack size:"
        " descent along thresholds and branch and bound for trees, gradients, search and labels"
        " alone for others, and the second opinion where one is asked.",
        "the attacker that [robustness] describes",
        "Zhang et al., NeurIPS (2020); Kantchelian et al., ICML (2016); Croce, Hein, ICML (2020); "
        + CLOPPER,
        "A better attack than those tried: it is an upper bound, exact for single trees.",
        SHARE_WRONG + " It holds for these attacks, not for the best one.",
    ),
    _of(
        "certified_accuracy",
        "Share of attacked rows that a bound shows to stay right, at an attack size: the worst"
        " corner of a linear model, the worst leaf of every tree that the box reaches, or branch"
        " and bound over them.",
        "the attacker that [robustness] describes",
        "Chen et al., NeurIPS (2019); " + CLOPPER,
        "Rows that stay right although no bound shows it: it is a lower bound.",
        SHARE_WRONG,
    ),
    _of(
        "membership_auc",
        "How well the model's sureness of the true label tells training rows from others.",
        "equally drawn rows on both sides",
        "Yeom et al., CSF (2018)",
        "Attacks with shadow models (lira_auc), and single rows that leak.",
        UNTESTED,
    ),
    _of(
        "membership_tpr_at_1_fpr",
        "Share of training rows told at 1 % false alarms, by sureness" + THRESHOLD + ".",
        "equally drawn rows on both sides",
        "Carlini et al., IEEE S&P (2022)",
        "Stronger attacks.",
        NAMED,
    ),
    _of(
        "label_only_auc",
        "How well right labels, and labels of noisy copies, tell training rows from others; the "
        "stronger of both. What they say is learnt from four fifths of the rows, five times.",
        "equally drawn rows on both sides, some of which the attacker knows",
        "Choquette-Choo et al., ICML (2021); Yeom et al., CSF (2018)",
        "Single rows that leak; attackers who may ask much more than 25 times a row.",
        UNTESTED
        + " The stronger of two attacks is chosen on the rows that judge it: of a model without"
        " memory it is above .5 by chance.",
    ),
    _of(
        "lira_auc",
        "How well likelihood ratios of shadow models tell training rows from others.",
        "shadow models like the model: of its size, up to [assess] shadow_size",
        "Carlini et al., IEEE S&P (2022)",
        "Attackers with more, or above shadow_size larger, shadow models.",
        UNTESTED,
    ),
    _of(
        "lira_tpr_at_1_fpr",
        "Share of training rows told at 1 % false alarms, by likelihood ratio" + THRESHOLD + ".",
        "shadow models like the model",
        "Carlini et al., IEEE S&P (2022)",
        "Attackers with more shadow models.",
        NAMED,
    ),
    _of(
        "attribute_advantage",
        "How much more often the value under which the model is surest of the label is the "
        "true one, among training rows than among others; the largest over the columns. "
        "Every value that occurs is tried, numbers with at most 20 values as well.",
        "an attacker who knows the rest of the row and the label",
        "Fredrikson et al., USENIX Security (2014); Yeom et al., CSF (2018); " + NEWCOMBE,
        "Columns with more than 20 values; what the population tells anyway.",
        UNTESTED,
    ),
    _of(
        "inversion_correlation",
        "Likeness of the rows that the model finds most typical and real ones.",
        "features that are an image",
        "Fredrikson, Jha, Ristenpart, CCS (2015)",
        "Models of tables.",
        UNTESTED,
    ),
    _of(
        "memorised_share",
        "Share of training rows that the model tells far better than shadow models without them.",
        "shadow models like the model",
        "Feldman, Zhang, NeurIPS (2020)",
        "Few shadows see only strong memorisation.",
        UNTESTED,
    ),
    _of(
        "epsilon",
        "What private training spent, by accounting.",
        "the accountant's neighbours and the mechanism as it ran",
        "Dwork, Roth (2014); Doroshenko et al., PoPETs (2022)",
        "What happened outside the mechanism.",
        "It has no interval: it is proven, not estimated.",
    ),
    _of(
        "cv_gap",
        "Cross-validation's mean less the hold-out's figure, with the hold-out's interval.",
        INDEPENDENT,
        "Stone, J. R. Statist. Soc. B 36 (1974)",
        "The spread of cross-validation itself: the finding allows for it, the gate's interval does"
        " not.",
        UNTESTED,
    ),
    _of(
        "nested_cv",
        "Mean score of nested cross-validation, from the least to the greatest fold.",
        "folds that are drawn like the rows to come",
        "Cawley, Talbot, JMLR 11 (2010)",
        "Shift after training.",
        "It shows the spread of the folds, no 95 %.",
    ),
    _of(
        "shift_auc",
        "AUC of a classifier that learns from one half to tell hold-out rows from training rows,"
        " and is asked about the other half; rows of a subject share a half.",
        INDEPENDENT,
        "Lopez-Paz, Oquab, ICLR (2017); " + DELONG,
        "Shifts too faint for the rows at hand; shifts of the label alone.",
        "As roc_auc, because the halves are independent.",
    ),
    _of(
        "behaviour_failures",
        "Tests of [[assess.behaviour]] that more rows broke than tolerated.",
        "tests that say what matters",
        "Ribeiro et al., ACL (2020)",
        "What no test asks.",
        NO_INTERVAL,
    ),
    _of(
        "rule_violations",
        "Rows that break a rule of [[data.rules]].",
        "rules that say what matters",
        "",
        "What no rule asks.",
        NO_INTERVAL,
    ),
    _of(
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
    _of(
        "contamination",
        "Share of hold-out rows that repeat a training row in every feature and are one of more "
        "equal rows than chance makes (`repeated_rows` counts all).",
        "nothing but chance joins the answers of people who agree in all others",
        "Bishop, Fienberg, Holland, Discrete Multivariate Analysis (1975), chapter 6",
        "Copies that were changed, and a few copies of an answer that many give.",
        NO_INTERVAL,
    ),
    _of(
        "leakage_auc",
        "The largest AUC of a shallow tree of one feature, cross-validated over rows, or over"
        " subjects, where [data] subject names them.",
        "",
        "Kaufman, Rosset, Perlich, Leakage in Data Mining (KDD 2011)",
        "Leaks that need many columns together.",
        UNTESTED,
    ),
    _of(
        "minority_share",
        "Share of the rarest class.",
        "",
        "",
        "Whether the class is rare where the model will work.",
        NO_INTERVAL,
    ),
    _of(
        "suspicious_share",
        "Share of rows that a screen put under suspicion.",
        "",
        "",
        "What no detector looks for.",
        NO_INTERVAL,
    ),
    _of(
        "influence",
        "How much suspicious rows move the model.",
        "",
        "Koh, Liang, ICML (2017)",
        "Groups of rows that act together only.",
        UNTESTED,
    ),
)
EXPLANATIONS = {one.figure: one for one in _ALL}
"""One for each of `config.FIGURES`."""
