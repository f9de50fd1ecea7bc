"""Figures in the order in which people ask: how good, how sure, for whom, how robust, what it gives
away, what the data looked like.
"""

from dataclasses import dataclass

from casemate.core.types import number_text


@dataclass(frozen=True)
class Group:
    """One question about a model."""

    title: str
    lead: str
    """What these figures say, for somebody who reads them for the first time."""
    figures: dict[str, str]
    """Name -> what it means, in a line."""


GOOD = Group(
    "How good it is",
    "How well the answers fit what really was, on rows that the training code never saw.",
    {
        "roc_auc": (
            "how often a positive row gets a higher score than a negative one; 0.5 is chance, 1"
            " perfect"
        ),
        "average_precision": (
            "how pure the highest scores are, over all cut-offs; chance is the share of positives"
        ),
        "accuracy": "share of rows with the right answer",
        "balanced_accuracy": "the same, every class counting alike",
        "cost": "mean cost of an answer, by what [train] costs says of mistakes; 0 is best",
        "quadratic_kappa": (
            "agreement beyond chance, far misses weighing most; 0 is chance, 1 perfect"
        ),
        "rank_error": "mean number of classes by which an answer misses, in their order; 0 is best",
        "f1": "precision and recall of the positive class in one number",
        "hamming_loss": "share of single labels that are wrong; 0 is best",
        "subset_accuracy": "share of rows with every label right",
        "micro_f1": "precision and recall over all single labels; frequent labels weigh most",
        "macro_f1": "mean over the labels of each one's precision and recall in one number",
        "r2": (
            "part of the target's variation that is predicted; 0 is as good as always saying the"
            " mean"
        ),
        "rmse": "typical size of an error, large ones weighing most, in units of the target",
        "mae": "mean size of an error, in units of the target",
        "median_absolute_error": "half of the errors are smaller, in units of the target",
        "pinball_loss": "mean miss of the predicted quantile, by the price of its side; 0 is best",
        "quantile_coverage": (
            "share of rows at or below what was predicted; it should be the quantile"
        ),
        "nested_cv": "what the whole search promises on new rows, by cross-validation around it",
        "cv_gap": "how much better cross-validation looked than the hold-out does",
    },
)
SURE = Group(
    "How sure it is",
    "Whether a probability of 0.8 comes true in eight of ten cases.",
    {
        "calibration_error": "typical distance between what was said and what happened; 0 is best",
        "log_loss": (
            "price of every answer by its probability; 0 is best, and being surely wrong is dear"
        ),
        "brier": "mean squared error of the probability; 0 is best",
    },
)
WHOM = Group(
    "For whom it works",
    "The same questions for groups of people and parts of the table; a mean can hide that one of"
    " them is served badly.",
    {
        "demographic_parity_difference": (
            "largest difference of how often two groups get the positive answer"
        ),
        "equalized_odds_difference": (
            "largest difference of two groups' true or false positive rates"
        ),
        "mean_prediction_difference": (
            "largest difference of two groups' mean predictions, in deviations of the target"
        ),
        "absolute_error_difference": (
            "largest difference of two groups' mean errors, in deviations of the target"
        ),
        "worst_slice_accuracy": "accuracy in the part of the table where it is least",
        "worst_slice_mae": "mean error in the part of the table where it is greatest",
        "worst_target_r2": "R² of the quantity that is predicted worst",
    },
)
ROBUST = Group(
    "How robust it is",
    "What changed inputs do: an attacker who may move each of them a little, and rows unlike those"
    " it learnt from.",
    {
        "robust_accuracy": (
            "share of rows that stay right under the strongest attack that was found"
        ),
        "certified_accuracy": "share of rows that no attack of this size can turn, by proof",
        "behaviour_failures": "rows that break a declared test of behaviour",
        "shift_auc": "how well the hold-out can be told from training rows; 0.5 is not at all",
    },
)
PRIVATE = Group(
    "What it gives away",
    "What somebody who may ask the model can learn about the rows that it learnt from.",
    {
        "epsilon": "the proven limit of private training; smaller is safer",
        "membership_auc": (
            "how often an attacker tells a training row from another by the model's loss; 0.5 is"
            " guessing"
        ),
        "membership_tpr_at_1_fpr": (
            "share of training rows that he names with one false alarm in a hundred"
        ),
        "lira_auc": "the same for an attacker with models of his own (LiRA)",
        "lira_tpr_at_1_fpr": (
            "share of training rows that such an attacker names with one false alarm in a hundred"
        ),
        "label_only_auc": "the same for an attacker who sees labels and no probabilities",
        "attribute_advantage": (
            "what the model tells about a hidden feature of a training row, beyond what the"
            " population tells"
        ),
        "inversion_correlation": "how like a training image what is drawn back out of the model is",
        "memorised_share": (
            "training rows that are predicted right only because they were learnt from"
        ),
    },
)
DATA = Group(
    "What the data looked like",
    "What the screens found in the table before anything learnt from it.",
    {
        "suspicious_share": "share of rows under suspicion of any screen",
        "label_noise": "share of labels that are wrong beyond doubt",
        "label_noise_at_most": "largest share of wrong labels that the table is compatible with",
        "label_issues": "labels that a model which never saw the row finds least likely",
        "label_screen_auc": (
            "how well that model tells the classes apart; near 0.5 it can say nothing of labels"
        ),
        "label_screen_r2": (
            "how well that model predicts the target; near 0 it can say nothing of values"
        ),
        "neighbour_disagreement": "share of rows whose nearest rows nearly all have another label",
        "outliers": "rows with a cell far outside its column",
        "duplicates": "rows that are equal beyond what chance makes",
        "equal_rows": "rows that have an equal one, chance or not",
        "repeated_rows": "share of the hold-out that equals a training row",
        "contamination": (
            "share of the hold-out that equals a training row, beyond what chance makes"
        ),
        "largest_group": "near-copies of one row with one label",
        "triggers": "groups of rows that look planted",
        "spectral_groups": "small groups inside a class that stand apart from it",
        "leakage_auc": (
            "how well one column alone tells the outcome; near 1 it may be the outcome itself"
        ),
        "minority_share": "share of the rarest class",
        "rule_violations": "rows that break a declared rule",
        "drift": "largest shift of a column since the reference; 0.1 is some, 0.25 much",
        "influence": "what training without the suspicious rows gains",
    },
)
GROUPS = (GOOD, SURE, WHOM, ROBUST, PRIVATE, DATA)


COUNTS = {
    "behaviour_failures", "label_issues", "outliers", "duplicates", "equal_rows", "largest_group",
    "triggers", "spectral_groups", "rule_violations", "findings",
}  # fmt: skip
"""Figures that are numbers of rows or groups."""


def shown(name: str, value: float) -> str:
    """A figure for people."""
    return f"{value:g}" if plain(name) in COUNTS else number_text(value)


def plain(name: str) -> str:
    """A figure's name without the table in front and the attack size behind it."""
    return name.partition("@")[0].rpartition(".")[2]


def meaning(name: str) -> str:
    """What a figure means, in a line; empty when nobody wrote one."""
    return next(
        (group.figures[plain(name)] for group in GROUPS if plain(name) in group.figures), ""
    )


def grouped(names: list[str]) -> list[tuple[Group, list[str]]]:
    """The groups that have one of `names`, each with its own in the group's order; what no group
    knows lies with the data.
    """
    found = []
    known = {figure for group in GROUPS for figure in group.figures}
    for group in GROUPS:
        order = list(group.figures)
        own = [name for name in names if plain(name) in group.figures]
        own.sort(
            key=lambda name: (order.index(plain(name)), "." in name.partition("@")[0], _size(name))
        )
        own += sorted(name for name in names if plain(name) not in known) if group is DATA else []
        if own:
            found.append((group, own))
    return found


def _size(name: str) -> float:
    return float(name.partition("@")[2] or 0)
