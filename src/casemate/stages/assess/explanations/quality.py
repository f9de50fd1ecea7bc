"""How good the model is on the hold-out, and on groups in it."""

from casemate.stages.assess.explanations.terms import (
    CLOPPER,
    DELONG,
    HALL,
    INDEPENDENT,
    NEWCOMBE,
    SHARE_WRONG,
    UNTESTED,
    missed,
    of,
)

QUALITY = (
    of(
        "accuracy",
        "Share of rows whose label is right; Clopper-Pearson's exact interval.",
        INDEPENDENT,
        CLOPPER,
        "Rare classes: always answering the common one can look good.",
        SHARE_WRONG,
    ),
    of(
        "balanced_accuracy",
        "Mean of the classes' recalls; the interval from Wilson's of each recall.",
        INDEPENDENT,
        NEWCOMBE,
        "How good the order of the probabilities is; how rare a class is where the model will"
        " work.",
        missed(5.0, "7 680", 6.5, "200 rows, 50 % positives, too sure"),
    ),
    of(
        "f1",
        "2s / (1 + s) of the share s of true positives among rows that are positive or "
        "called so, with s's exact interval; of several classes the mean of theirs, with the "
        "interval of the rows' influences on the logit scale.",
        INDEPENDENT,
        "Clopper, Pearson, Biometrika 26 (1934); " + HALL,
        "True negatives; how sure the model is.",
        missed(3.5, "7 680", 5.6, "200 rows, 50 % positives, too sure"),
    ),
    of(
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
    of(
        "average_precision",
        "Mean precision at the positives' scores; the rows' influences on the logit scale, "
        "with as many degrees of freedom as positives, around the figure less half its "
        "small-sample bias.",
        INDEPENDENT + "; the same share of positives",
        "Boyd, Eng, Page, ECML PKDD (2013), for the logit scale",
        "It moves with the share of positives, so tables with other shares do not compare.",
        missed(5.0, "7 680", 6.2, "1 000 rows, 50 % positives"),
    ),
    of(
        "log_loss",
        "Mean of -log of the true class's probability, cut at the float's precision.",
        INDEPENDENT,
        HALL,
        "One row that is surely wrong weighs as much as many: a hold-out without such a row cannot"
        " tell of it.",
        missed(4.6, "7 680", 7.0, "10 000 rows, 2 % positives"),
    ),
    of(
        "brier",
        "Mean squared error of the probability; of several classes the sum over them.",
        INDEPENDENT,
        HALL,
        "It mixes order and calibration; with rare positives nearly everything is small.",
        missed(4.2, "7 680", 6.0, "10 000 rows, 2 % positives"),
    ),
    of(
        "calibration_error",
        "Root mean squared gap between what was said and what happened, over ten parts of as "
        "many rows each, less the gaps' noise; the interval holds every error under which "
        "the sum of squared gaps is no surprise (noncentral chi-squared).",
        INDEPENDENT,
        "Bröcker, Climate Dynamics 39 (2012); Kumar, Liang, Ma, NeurIPS (2019)",
        "Gaps that cancel within a part; calibration within a group.",
        missed(3.5, "7 680", 6.8, "1 000 rows, 2 % positives, too sure"),
    ),
    of(
        "cost",
        "Mean cost of an answer: nothing where it is right, else what [train] costs says of the"
        " row's class.",
        INDEPENDENT,
        HALL,
        "Costs that depend on more than the class. A cost of which most rows have none moves by a"
        " few rows.",
        UNTESTED,
    ),
    of(
        "quadratic_kappa",
        "Cohen's weighted kappa: agreement beyond chance, where a miss counts by the square of its"
        " distance in the order of the classes; bootstrap.",
        INDEPENDENT,
        "Cohen, Psychological Bulletin 70 (1968); Efron, JASA 82 (1987)",
        "It takes classes for equally far apart, and depends on how frequent they are: tables with"
        " other shares do not compare.",
        UNTESTED,
    ),
    of(
        "rank_error",
        "Mean number of classes by which the label misses the truth, in their declared order.",
        INDEPENDENT,
        HALL,
        "The direction of the misses; classes count as equally far apart.",
        UNTESTED,
    ),
    of(
        "pinball_loss",
        "Mean pinball loss of the predicted quantile: a miss below the truth weighs as much as the"
        " quantile says, one above as the rest.",
        INDEPENDENT,
        HALL,
        "Whether the share of rows below is right everywhere: look at quantile_coverage, and at"
        " slices.",
        UNTESTED,
    ),
    of(
        "quantile_coverage",
        "Share of rows whose quantity is at most what was predicted; of a right quantile of 0.9 it"
        " is 0.9. Clopper-Pearson's exact interval.",
        INDEPENDENT,
        CLOPPER,
        "How far off the others are: one number for all rows can have the right share.",
        SHARE_WRONG,
    ),
    of(
        "worst_slice_accuracy",
        "Least accuracy of a slice of at least 20 rows; the low end is the least one of all slices,"
        " the high end is corrected for their number.",
        INDEPENDENT,
        CLOPPER + "; Berger, Technometrics 24 (1982)",
        "Slices by two columns together, and columns with more than 20 values that [assess] "
        "slices does not name. The value itself is too low, more so with many small slices.",
        missed(1.9, "2 120", 3.1, "1 000 rows, 4 slices"),
    ),
    of(
        "hamming_loss",
        "Share of single labels that are wrong: the mean over rows of each row's share.",
        INDEPENDENT,
        HALL,
        "Rare labels: who never says them is seldom wrong. Look at each label's average_precision.",
        UNTESTED,
    ),
    of(
        "subset_accuracy",
        "Share of rows with every label right. Clopper-Pearson's exact interval.",
        INDEPENDENT,
        CLOPPER,
        "How wrong the other rows are, and in which label.",
        SHARE_WRONG,
    ),
    of(
        "micro_f1",
        "F1 over all single labels at once, frequent labels weighing most; bootstrap.",
        INDEPENDENT,
        "Efron, JASA 82 (1987)",
        "Rare labels.",
        UNTESTED,
    ),
    of(
        "macro_f1",
        "Mean F1 of the labels, each counting alike; bootstrap.",
        INDEPENDENT,
        "Efron, JASA 82 (1987)",
        "Which label is bad: each has its own figures, as LABEL.f1.",
        UNTESTED,
    ),
    of(
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
    of(
        "rmse",
        "Root of the mean squared error; of several quantities the mean, in deviations.",
        INDEPENDENT + "; errors without extreme outliers",
        HALL,
        "Outliers that the hold-out does not hold, and those that it holds weigh most.",
        missed(4.7, "29 300", 5.9, "2 000 rows, Student's errors with 5 degrees"),
    ),
    of(
        "mae",
        "Mean absolute error; of several quantities the mean, in deviations.",
        INDEPENDENT,
        HALL,
        "Few large errors among many small ones.",
        missed(5.4, "2 120", 7.0, "10 000 rows"),
    ),
    of(
        "median_absolute_error",
        "Median absolute error with the interval between order statistics; of several quantities"
        " the mean of theirs, by bootstrap.",
        INDEPENDENT,
        "Thompson, Annals of Mathematical Statistics 7 (1936); Efron, JASA 82 (1987)",
        "The larger half of the errors.",
        missed(4.2, "2 120", 5.0, "10 000 rows"),
    ),
    of(
        "worst_target_r2",
        "The least R² of the quantities; of one quantity its R², of several by bootstrap (BCa).",
        INDEPENDENT,
        "Efron, JASA 82 (1987)",
        "Which of two quantities is worse by chance.",
        missed(5.0, "5 300", 5.4, "10 000 rows, one quantity"),
    ),
    of(
        "worst_slice_mae",
        "Greatest mean absolute error of a slice of at least 20 rows; see worst_slice_accuracy.",
        INDEPENDENT,
        HALL + "; Berger, Technometrics 24 (1982)",
        "As worst_slice_accuracy; the value itself is too high.",
        UNTESTED,
    ),
    of(
        "demographic_parity_difference",
        "Largest difference of the selection rate between two groups. Its low end is sure "
        "for all pairs of groups together, its high end is the largest that any pair allows.",
        INDEPENDENT + "; groups of at least 20 rows, smaller ones together",
        NEWCOMBE + "; Berger, Technometrics 24 (1982)",
        "Whether a difference is deserved; groups by two columns together. The value "
        "(fairlearn's) is too large with many small groups, the interval is not.",
        missed(4.5, "6 880", 5.8, "200 rows, 2 groups, rates 0.3 to 0.5"),
    ),
    of(
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
    of(
        "mean_prediction_difference",
        "Largest difference of the mean prediction between two groups, in deviations of the"
        " target.",
        INDEPENDENT,
        "Agarwal, Dudík, Wu, ICML (2019); " + HALL,
        "Differences in spread with equal means.",
        UNTESTED,
    ),
    of(
        "absolute_error_difference",
        "Largest difference of the mean absolute error between two groups, in deviations of the"
        " target.",
        INDEPENDENT,
        "Agarwal, Dudík, Wu, ICML (2019); " + HALL,
        "The direction of the errors.",
        UNTESTED,
    ),
)
"""Of the hold-out and of groups in it."""
