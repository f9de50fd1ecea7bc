"""Models as federated training sees them: flat weights, a gradient over some rows, and answers.

A linear model is a multinomial logistic regression over encoded features, or, of two classes, a
binary one: the same parametrisation, and the same penalty, as scikit-learn's
`LogisticRegression(C=...)`.
"""

from typing import Any, Protocol

import numpy as np

from casemate.core.errors import ConfigError
from casemate.ml.federated.updates import Layout, layout_of

Array = np.ndarray[Any, Any]
ANSWERED = 4_096
"""Rows that a network answers at once: bounds memory."""


class Learner(Protocol):
    """A model without rows of its own."""

    classes: int
    """Classes that it tells apart."""

    @property
    def layout(self) -> Layout:
        """Which arrays its weights are."""

    def start(self, seed: int) -> Array:
        """Weights to begin with, flat [p]; the same for the same seed."""

    def gradient(self, weights: Array, rows: Array, codes: Array, total: int) -> Array:
        """Gradient of the mean loss over some of a site's rows, flat [p].

        Args:
            weights: flat [p]; changed by nobody.
            rows: encoded features [b, d].
            codes: class numbers [b].
            total: rows of the whole site, over which a penalty is shared out.
        """

    def answers(self, weights: Array, rows: Array) -> Array:
        """Scores of each class for each row [n, k]."""


class LinearLearner:
    """Logistic regression with an L2 penalty on everything but the intercept.

    Args:
        width: encoded features.
        classes: k.
        strength: scikit-learn's C: the sum of losses weighs so much beside half the squared norm.
    """

    def __init__(self, width: int, classes: int, strength: float = 1.0) -> None:
        if classes < 2:
            raise ConfigError("a classifier needs two classes", hint="see the target of the table")
        self.width, self.classes, self.strength = width, classes, strength
        self.outputs = 1 if classes == 2 else classes

    @property
    def layout(self) -> Layout:
        """See `Learner.layout`."""
        return layout_of(
            {"coef": np.zeros((self.width, self.outputs)), "intercept": np.zeros(self.outputs)}
        )

    def start(self, seed: int) -> Array:
        """See `Learner.start`: nought, whatever the seed."""
        return np.zeros((self.width + 1) * self.outputs)

    def split(self, weights: Array) -> tuple[Array, Array]:
        """(coefficients [d, m], intercepts [m]) as views of flat weights."""
        cut = self.width * self.outputs
        return weights[:cut].reshape(self.width, self.outputs), weights[cut:]

    def probabilities(self, weights: Array, rows: Array) -> Array:
        """Of each class, or, of two classes, of the second alone: [n, m]."""
        coefficients, intercepts = self.split(weights)
        scores = rows @ coefficients + intercepts
        if self.outputs == 1:
            return np.asarray(np.exp(-np.logaddexp(0.0, -scores)))
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def truth(self, codes: Array) -> Array:
        """What the probabilities should be, float64 [n, m]."""
        if self.outputs == 1:
            return np.asarray(codes[:, None] == 1, dtype=np.float64)
        return np.eye(self.classes)[codes]

    def gradient(self, weights: Array, rows: Array, codes: Array, total: int) -> Array:
        """See `Learner.gradient`."""
        error = (self.probabilities(weights, rows) - self.truth(codes)) / len(rows)
        slope = rows.T @ error + self.split(weights)[0] / (self.strength * total)
        return np.concatenate([slope.ravel(), error.sum(axis=0)])

    def answers(self, weights: Array, rows: Array) -> Array:
        """See `Learner.answers`."""
        found = self.probabilities(weights, rows)
        return np.hstack([1 - found, found]) if self.outputs == 1 else found


class NetworkLearner:
    """A torch network of listed layers; only what is trained is ever sent.

    Batch normalisation is refused: its running figures are means of one site's rows, which a mean
    over sites neither keeps private nor makes right (Hsieh et al., The Non-IID Data Quagmire of
    Decentralized Machine Learning, ICML 2020, which proposes group normalisation).

    Args:
        layers: as `learn.layers.describe` gives them.
        classes: k, its outputs.
        frozen: parameters that stay as they are, the same at every site.
    """

    def __init__(
        self, layers: list[Any], classes: int, frozen: dict[str, Array] | None = None
    ) -> None:
        from casemate.ml.learn.layers import build

        self._build, self.layers, self.frozen = build, layers, frozen or {}
        self.classes = classes
        unfit = next((name for name, _ in layers if name.startswith("BatchNorm")), None)
        if unfit is not None:
            raise ConfigError(
                f"a network with {unfit} is not trained over sites: it keeps figures of one site's"
                " rows, and a counter of which there is no mean",
                hint="GroupNorm or LayerNorm, which keep nothing",
            )
        self.network = self._made(0)
        self._trained = {
            name: value for name, value in self.network.named_parameters() if value.requires_grad
        }
        if not self._trained:
            raise ConfigError("no layer of the network is trained", hint="see train.py")
        self._bound: Array | None = None
        arrays = {name: value.detach().numpy() for name, value in self._trained.items()}
        self._layout = layout_of(arrays)

    def _made(self, seed: int) -> Any:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self._build(list(self.layers))
        state = network.state_dict()
        for name, value in self.frozen.items():
            state[name].copy_(torch.as_tensor(value))
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name not in self.frozen)
        return network

    @property
    def layout(self) -> Layout:
        """See `Learner.layout`."""
        return self._layout

    def start(self, seed: int) -> Array:
        """See `Learner.start`; float32."""
        made = [value for value in self._made(seed).parameters() if value.requires_grad]
        return np.concatenate([value.detach().numpy().ravel() for value in made])

    def _bind(self, weights: Array) -> None:
        """Let the parameters be views of `weights`, so that a step changes both."""
        import torch

        if weights is not self._bound:
            with torch.no_grad():
                torch.nn.utils.vector_to_parameters(
                    torch.from_numpy(weights), self._trained.values()
                )
            self._bound = weights

    def gradient(self, weights: Array, rows: Array, codes: Array, total: int) -> Array:
        """See `Learner.gradient`; without a penalty."""
        import torch
        from torch.nn import functional

        self._bind(weights)
        self.network.train()
        found = self.network(torch.from_numpy(rows))
        loss = functional.cross_entropy(found, torch.from_numpy(codes))
        slopes = torch.autograd.grad(loss, list(self._trained.values()))
        return np.asarray(torch.cat([slope.reshape(-1) for slope in slopes]).numpy())

    def answers(self, weights: Array, rows: Array) -> Array:
        """See `Learner.answers`."""
        import torch

        self._bind(np.ascontiguousarray(weights, dtype=np.float32))
        self.network.eval()
        with torch.no_grad():
            parts = [
                torch.softmax(self.network(torch.from_numpy(rows[start : start + ANSWERED])), 1)
                for start in range(0, len(rows), ANSWERED)
            ]
        return np.asarray(torch.cat(parts).numpy(), dtype=np.float64)
