"""How the model stands attacks, and what it tells of its training rows."""

from casemate.stages.assess.explanations.terms import (
    CLOPPER,
    NAMED,
    NEWCOMBE,
    SHARE_WRONG,
    THRESHOLD,
    UNTESTED,
    of,
)

ATTACKS = (
    of(
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
    of(
        "certified_accuracy",
        "Share of attacked rows that a bound shows to stay right, at an attack size: the worst"
        " corner of a linear model, the worst leaf of every tree that the box reaches, or branch"
        " and bound over them.",
        "the attacker that [robustness] describes",
        "Chen et al., NeurIPS (2019); " + CLOPPER,
        "Rows that stay right although no bound shows it: it is a lower bound.",
        SHARE_WRONG,
    ),
    of(
        "membership_auc",
        "How well the model's sureness of the true label tells training rows from others.",
        "equally drawn rows on both sides",
        "Yeom et al., CSF (2018)",
        "Attacks with shadow models (lira_auc), and single rows that leak.",
        UNTESTED,
    ),
    of(
        "membership_tpr_at_1_fpr",
        "Share of training rows told at 1 % false alarms, by sureness" + THRESHOLD + ".",
        "equally drawn rows on both sides",
        "Carlini et al., IEEE S&P (2022)",
        "Stronger attacks.",
        NAMED,
    ),
    of(
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
    of(
        "lira_auc",
        "How well likelihood ratios of shadow models tell training rows from others.",
        "shadow models like the model: of its size, up to [assess] shadow_size",
        "Carlini et al., IEEE S&P (2022)",
        "Attackers with more, or above shadow_size larger, shadow models.",
        UNTESTED,
    ),
    of(
        "lira_tpr_at_1_fpr",
        "Share of training rows told at 1 % false alarms, by likelihood ratio" + THRESHOLD + ".",
        "shadow models like the model",
        "Carlini et al., IEEE S&P (2022)",
        "Attackers with more shadow models.",
        NAMED,
    ),
    of(
        "attribute_advantage",
        "How much more often the value under which the model is surest of the label is the "
        "true one, among training rows than among others; the largest over the columns. "
        "Every value that occurs is tried, numbers with at most 20 values as well.",
        "an attacker who knows the rest of the row and the label",
        "Fredrikson et al., USENIX Security (2014); Yeom et al., CSF (2018); " + NEWCOMBE,
        "Columns with more than 20 values; what the population tells anyway.",
        UNTESTED,
    ),
    of(
        "inversion_correlation",
        "Likeness of the rows that the model finds most typical and real ones.",
        "features that are an image",
        "Fredrikson, Jha, Ristenpart, CCS (2015)",
        "Models of tables.",
        UNTESTED,
    ),
    of(
        "memorised_share",
        "Share of training rows that the model tells far better than shadow models without them.",
        "shadow models like the model",
        "Feldman, Zhang, NeurIPS (2020)",
        "Few shadows see only strong memorisation.",
        UNTESTED,
    ),
    of(
        "epsilon",
        "What private training spent, by accounting.",
        "the accountant's neighbours and the mechanism as it ran",
        "Dwork, Roth (2014); Doroshenko et al., PoPETs (2022)",
        "What happened outside the mechanism.",
        "It has no interval: it is proven, not estimated.",
    ),
)
"""Of robustness, and of what the model tells."""
