"""A second opinion: attacks of the Adversarial Robustness Toolbox (ART) in the same box as ours.

ART sees the box and nothing else: its inputs are moves in units of eps, and whatever it proposes is
put inside the attacker's limits before the model is asked, so immutable features, one-way limits,
budgets and whole numbers hold for it too. What it finds is judged by the model itself, as
everything is.

Networks meet the attacks that ART's `AutoAttack` runs one after another (AutoPGD on cross-entropy
and on the difference of logits, DeepFool, Square), each on what the last one left; models with a
slope AutoPGD on the margin; all of them, and those without a slope, HopSkipJump, which sees labels
only and asks some thousand times a row.
"""

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from casemate.core import quiet
from casemate.core.errors import BackendError
from casemate.ml.attacks.gradient import Gradient
from casemate.ml.attacks.interface import Array, Quantity, Target, keep_better

APART = 1000.0
"""Between the numbers of two rows among the inputs: far more than any attack moves one."""
LEAST_SIDE = 5
"""The square attack draws inside a grid, which has to be larger than its squares."""
HOPS = {"max_iter": 10, "max_eval": 200, "init_eval": 50, "init_size": 100}
"""HopSkipJump: some thousand questions a row."""
RESTARTS = 2
"""Random beginnings, as many as our own attack makes."""
SQUARES = 500
"""Iterations of the square attack, one question each. A judgement: its authors take thousands, for
images.
"""


def installed() -> None:
    """BackendError when the toolbox is not there."""
    if importlib.util.find_spec("art") is None:
        raise BackendError(
            '[robustness] second_opinion = "art" needs the Adversarial Robustness Toolbox, which is'
            " not installed",
            hint='pip install "casemate[art]", or take second_opinion out of casemate.toml',
        )


class Toolbox:
    """ART's strongest applicable attacks, as one attack; `broke` says which of them broke how many
    rows.
    """

    name = "art"

    def __init__(self, decision_rows: int) -> None:
        self.decision_rows = decision_rows
        self.broke: dict[str, int] = {}

    def applies(self, target: Target) -> bool:
        """Whether there are classes and numbers to move."""
        return target.width > 0 and not isinstance(target, Quantity)

    def improve(
        self, target: Target, best: Array, margins: Array, eps: float, steps: int, seed: int
    ) -> None:
        """See `Attack.improve`."""
        installed()
        with quiet.temporary_home():
            import art.attacks.evasion  # noqa: F401 - it makes a folder when it is imported first

        np.random.seed(seed)  # noqa: NPY002 - ART draws from NumPy's global generator
        box = Inside(target, eps)
        for name, attack in self._attacks(target, box, steps):
            rows = np.flatnonzero(margins > 0)
            if name == "hop-skip-jump":
                rows = rows[: self.decision_rows]
            if not len(rows):
                continue
            moves = attack(rows)
            changed = box.changed(moves, rows)
            keep_better(best, margins, changed, target.margin(changed, rows), rows)
            self.broke[name] = self.broke.get(name, 0) + int(np.sum(margins[rows] <= 0))

    def _attacks(
        self, target: Target, box: "Inside", steps: int
    ) -> Iterator[tuple[str, Callable[[Array], Array]]]:
        if getattr(target.model, "margin_gradient", None) is not None:
            yield from _networks(target, box, steps)
        elif Gradient().applies(target):
            yield "auto-pgd", lambda rows: _descended(box, rows, steps)
        if self.decision_rows:
            yield "hop-skip-jump", lambda rows: _hopped(box, rows)


class Inside:
    """The box of every row as ART sees it: moves in [-eps, eps], and the number of the row."""

    def __init__(self, target: Target, eps: float) -> None:
        self.target, self.eps = target, eps
        self.lower, self.upper = target.ball(eps)
        self.side = max(LEAST_SIDE, int(np.ceil(np.sqrt(target.width + 1))))
        self.classes = target.model.scores(target.frame[:1]).shape[1]

    def changed(self, moves: Array, rows: Array) -> Array:
        """What moves [n, at least m] make of the rows, inside what the attacker can do."""
        changed = self.target.start[rows].copy()
        width = self.target.width
        changed[:, :width] += (
            np.clip(moves[:, :width].astype(np.float64), -self.eps, self.eps) * self.target.spread
        )
        return self.target.legal(changed, self.lower[rows], self.upper[rows])

    def inputs(self, rows: Array, shape: tuple[int, ...]) -> Array:
        """Rows that did not move, float32 [n, *shape]; the last input is the row's number."""
        flat = np.zeros((len(rows), int(np.prod(shape))), dtype=np.float32)
        flat[:, -1] = rows * APART
        return flat.reshape(len(rows), *shape)

    def limits(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Least and greatest inputs."""
        high = np.full(int(np.prod(shape)), self.eps, dtype=np.float32)
        low = -high
        low[-1], high[-1] = 0.0, len(self.target.codes) * APART
        return low.reshape(shape), high.reshape(shape)

    def scores(self, inputs: Array) -> Array:
        """The model's scores for such inputs, [n, k]."""
        flat = inputs.reshape(len(inputs), -1)
        rows = np.round(flat[:, -1] / APART).astype(int)
        return np.asarray(
            self.target.model.scores(self.target.rows(self.changed(flat, rows), rows))
        )

    def labels(self, rows: Array) -> Array:
        """The true classes, one-hot."""
        return np.asarray(np.eye(self.classes, dtype=np.float32)[self.target.codes[rows]])

    def others(self, shift: int, rows: Array) -> Array:
        """Wrong classes, one-hot: so many after the true ones."""
        return np.roll(self.labels(rows), shift, axis=1)


def _flat(moves: Array) -> Array:
    return np.asarray(moves).reshape(len(moves), -1)


def _descended(box: Inside, rows: Array, steps: int) -> Array:
    """AutoPGD on the margin, by the same slopes as ours."""
    from art.attacks.evasion import AutoProjectedGradientDescent
    from art.estimators.classification import ClassifierMixin
    from art.estimators.estimator import BaseEstimator, LossGradientsMixin

    target, width = box.target, box.target.width
    shape = (width + 1,)
    slopes = Gradient()
    slopes.applies(target)

    class Sloping(LossGradientsMixin, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        """What ART needs of a model: scores, the margin as a loss, and its slope."""

        input_shape = shape

        def predict(self, x: Array, **_: Any) -> Array:
            """Scores."""
            return box.scores(x)

        def fit(self, *_: Any, **__: Any) -> None:
            """Nothing is trained here."""

        def compute_loss(self, x: Array, y: Array, **_: Any) -> Array:
            """Minus the margin, [n]."""
            at = np.round(x[:, -1] / APART).astype(int)
            return np.asarray(-target.margin(box.changed(x, at), at))

        def loss_gradient(self, x: Array, y: Array, **_: Any) -> Array:
            """The slope of that."""
            at = np.round(x[:, -1] / APART).astype(int)
            found = -slopes._slopes(target, box.changed(x, at), at)  # noqa: SLF001 - the same gradients as our own attack
            return np.column_stack([found * target.spread, np.zeros(len(x))]).astype(np.float32)

    model = Sloping(model=None, clip_values=box.limits(shape))
    model.nb_classes = box.classes
    attack = AutoProjectedGradientDescent(
        model,
        eps=box.eps,
        eps_step=box.eps / 2,
        max_iter=max(steps, 20),
        nb_random_init=RESTARTS,
        batch_size=1000,
        verbose=False,
    )
    return np.asarray(attack.generate(box.inputs(rows, shape), box.labels(rows)))


def _hopped(box: Inside, rows: Array) -> Array:
    """HopSkipJump, row by row: it sees labels and nothing else."""
    from art.attacks.evasion import HopSkipJump
    from art.estimators.classification import BlackBoxClassifier

    moves = np.zeros((len(rows), box.target.width))
    for place, row in enumerate(rows):

        def labels(x: Array, row: int = int(row)) -> Array:
            """One-hot labels of moves of this row."""
            at = np.full(len(x), row)
            found = np.asarray(
                box.target.model.predict(box.target.rows(box.changed(x, at), at))[0]
            ).ravel()
            return np.asarray(np.eye(box.classes, dtype=np.float32)[found])

        model = BlackBoxClassifier(
            labels, (box.target.width,), box.classes, clip_values=(-box.eps, box.eps)
        )
        attack = HopSkipJump(model, norm=np.inf, batch_size=256, verbose=False, **HOPS)
        still = np.zeros((1, box.target.width), dtype=np.float32)
        moves[place] = attack.generate(still, box.labels(rows[place : place + 1]))[0]
    return np.asarray(moves)


def _networks(
    target: Target, box: Inside, steps: int
) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """The attacks of ART's AutoAttack; the class itself imports a package that it does not
    declare.
    """
    import torch
    from art.attacks.evasion import AutoProjectedGradientDescent, DeepFool, SquareAttack
    from art.estimators.classification import PyTorchClassifier

    shape = (1, box.side, box.side)
    model = PyTorchClassifier(
        _boxed(target, box),
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=shape,
        nb_classes=box.classes,
        clip_values=box.limits(shape),
        device_type="cpu",
        channels_first=True,
    )
    common = {"eps": box.eps, "verbose": False}
    descent = {
        **common,
        "eps_step": box.eps / 2,
        "max_iter": max(steps, 50),
        "nb_random_init": RESTARTS,
        "batch_size": 500,
    }

    def run(attack: Any, labels: Callable[[Array], Array] = box.labels) -> Callable[[Array], Array]:
        return lambda rows: _flat(attack.generate(box.inputs(rows, shape), labels(rows)))

    yield "auto-pgd", run(AutoProjectedGradientDescent(model, loss_type="cross_entropy", **descent))
    if box.classes > 2:  # the third largest logit is part of this loss
        yield (
            "auto-pgd-dlr",
            run(
                AutoProjectedGradientDescent(model, loss_type="difference_logits_ratio", **descent)
            ),
        )
        for shift in range(1, min(box.classes, 10)):
            targeted = AutoProjectedGradientDescent(
                model, loss_type="cross_entropy", targeted=True, **descent
            )
            yield "auto-pgd-targeted", run(targeted, partial(box.others, shift))
    yield (
        "deep-fool",
        run(
            DeepFool(
                model,
                max_iter=50,
                epsilon=1e-3,
                nb_grads=min(10, box.classes),
                batch_size=500,
                verbose=False,
            )
        ),
    )
    yield (
        "square",
        run(
            SquareAttack(
                model, norm=np.inf, max_iter=SQUARES, nb_restarts=1, batch_size=1000, **common
            )
        ),
    )


def _boxed(target: Target, box: Inside) -> Any:
    """The network over moves and a row's number, as a torch module with slopes."""
    import torch

    estimator = target.model.estimator  # type: ignore[attr-defined]
    every = np.arange(len(target.codes))
    ends = []
    for numbers in (target.start[:, : target.width], box.lower, box.upper):
        changed = target.start.copy()
        changed[:, : target.width] = numbers
        ends.append(torch.as_tensor(estimator.encode(target.rows(changed, every))))
    known = list(estimator.numbers or {})
    spans = np.array([(high - low) or 1.0 for low, high in (estimator.numbers or {}).values()])
    columns = torch.as_tensor([known.index(name) for name in target.names])
    scale = torch.as_tensor((target.spread / spans[columns.numpy()]).astype(np.float32))

    class Boxed(torch.nn.Module):  # type: ignore[misc]
        """Moves in, logits out."""

        def __init__(self) -> None:
            super().__init__()
            self.network = estimator.network_

        def forward(self, x: Any) -> Any:
            """Logits [n, k] for inputs [n, 1, side, side]."""
            flat = x.float().reshape(len(x), -1)
            rows = torch.round(flat[:, -1].detach() / APART).long().clamp(0, len(every) - 1)
            base, low, high = (end[rows] for end in ends)
            moves = flat[:, : target.width].clamp(-box.eps, box.eps) * scale
            moved = base.index_add(1, columns, moves)
            return self.network(torch.maximum(torch.minimum(moved, high), low))

    return Boxed()
