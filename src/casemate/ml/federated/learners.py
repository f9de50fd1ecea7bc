"""Models as federated training sees them: flat weights, a gradient over some rows, and answers.

A linear model is a multinomial logistic regression over encoded features, or, of two classes, a
binary one: the same parametrisation, and the same penalty, as scikit-learn's
`LogisticRegression(C=...)`.
"""

from typing import Any, Protocol

import numpy as np

from casemate.core.errors import ConfigError
from casemate.ml.federated.updates import Layout, layout_of
from casemate.ml.learn.linear import by_subject

Array = np.ndarray[Any, Any]
ANSWERED = 4_096
"""Rows that a network answers at once: bounds memory."""
OWN, MOST_OWN = 256, 2**24
"""Rows whose own gradients a network holds at once, and how many numbers these may be: 64 MiB."""


class Owned(Protocol):
    """Rows that belong to somebody."""

    rows: Array
    """Encoded features [n, d]."""
    codes: Array
    """Class numbers int64 [n]."""
    owners: Array
    """Number of each row's subject, from 0, int64 [n]."""


class Learner(Protocol):
    """A model without rows of its own."""

    classes: int
    """Classes that it tells apart."""

    @property
    def layout(self) -> Layout:
        """Which arrays its weights are."""

    def start(self, seed: int) -> Array:
        """Weights to begin with, flat [p]; the same for the same seed."""

    def gradient(
        self, weights: Array, rows: Array, codes: Array, total: int, offsets: Array | None = None
    ) -> Array:
        """Gradient of the mean loss over some of a site's rows, flat [p].

        Args:
            weights: flat [p]; changed by nobody.
            rows: encoded features [b, d].
            codes: class numbers [b].
            total: rows of the whole site, over which a penalty is shared out.
            offsets: added to each class's score in the loss, float64 [k]; see `local.offsets_of`.
        """

    def clipped(self, weights: Array, site: Owned, clip: float) -> Array:
        """Sum over subjects of the gradients of their losses, each shortened to the norm `clip`,
        flat float64 [p]. A gradient that is no number is nought: else it would say whose it is.
        """

    def penalty(self, weights: Array, total: float) -> Array:
        """Gradient of the penalty, flat [p], where it is shared out over so many rows."""

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

    def probabilities(self, weights: Array, rows: Array, offsets: Array | None = None) -> Array:
        """Of each class, or, of two classes, of the second alone: [n, m]."""
        coefficients, intercepts = self.split(weights)
        scores = rows @ coefficients + intercepts
        if offsets is not None:
            scores = scores + (offsets if self.outputs > 1 else offsets[1] - offsets[0])
        if self.outputs == 1:
            return np.asarray(np.exp(-np.logaddexp(0.0, -scores)))
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def truth(self, codes: Array) -> Array:
        """What the probabilities should be, float64 [n, m]."""
        if self.outputs == 1:
            return np.asarray(codes[:, None] == 1, dtype=np.float64)
        return np.eye(self.classes)[codes]

    def gradient(
        self, weights: Array, rows: Array, codes: Array, total: int, offsets: Array | None = None
    ) -> Array:
        """See `Learner.gradient`."""
        error = (self.probabilities(weights, rows, offsets) - self.truth(codes)) / len(rows)
        slope = rows.T @ error + self.split(weights)[0] / (self.strength * total)
        return np.concatenate([slope.ravel(), error.sum(axis=0)])

    def clipped(self, weights: Array, site: Owned, clip: float) -> Array:
        """See `Learner.clipped`."""
        given = np.hstack([site.rows, np.ones((len(site.rows), 1))])
        error = self.probabilities(weights, site.rows) - self.truth(site.codes)
        units = int(site.owners.max(initial=-1)) + 1
        return by_subject(given, error, site.owners, units, clip).ravel()

    def penalty(self, weights: Array, total: float) -> Array:
        """See `Learner.penalty`."""
        slope = self.split(weights)[0].ravel() / (self.strength * total)
        return np.append(slope, np.zeros(self.outputs))

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

    def gradient(
        self, weights: Array, rows: Array, codes: Array, total: int, offsets: Array | None = None
    ) -> Array:
        """See `Learner.gradient`; without a penalty."""
        import torch
        from torch.nn import functional

        self._bind(weights)
        self.network.train()
        found = self.network(torch.from_numpy(rows))
        if offsets is not None:
            found = found + torch.from_numpy(offsets.astype(np.float32))
        loss = functional.cross_entropy(found, torch.from_numpy(codes))
        slopes = torch.autograd.grad(loss, list(self._trained.values()))
        return np.asarray(torch.cat([slope.reshape(-1) for slope in slopes]).numpy())

    def clipped(self, weights: Array, site: Owned, clip: float) -> Array:
        """See `Learner.clipped`; each layer that sites train looks at one row at a time."""
        import torch
        from torch.func import functional_call, grad, vmap
        from torch.nn import functional

        self._bind(np.array(weights, dtype=np.float32))
        self.network.train()
        trained = {name: value.detach() for name, value in self._trained.items()}

        def loss(parameters: dict[str, Any], row: Any, code: Any) -> Any:
            found = functional_call(self.network, parameters, (row[None],))
            return functional.cross_entropy(found, code[None])

        slopes_of = vmap(grad(loss), in_dims=(None, 0, 0), randomness="different")
        rows, codes = torch.from_numpy(site.rows), torch.from_numpy(site.codes)
        order, size = np.argsort(site.owners, kind="stable"), self.layout.size
        width = max(1, min(OWN, MOST_OWN // size))
        total = torch.zeros(size, dtype=torch.float64)
        last, whose = torch.zeros(size), -1
        for start in range(0, len(order), width):
            at = order[start : start + width]
            kinds, places = np.unique(site.owners[at], return_inverse=True)
            found = slopes_of(trained, rows[at], codes[at])
            slopes = torch.cat([found[name].flatten(1) for name in trained], dim=1)
            own = torch.zeros(len(kinds), size).index_add_(0, torch.from_numpy(places), slopes)
            if kinds[0] == whose:  # whose rows go on here
                own[0] += last
            else:
                total += _shortened(last[None], clip)
            total += _shortened(own[:-1], clip)
            last, whose = own[-1], kinds[-1]
        return np.asarray((total + _shortened(last[None], clip)).numpy())

    def penalty(self, weights: Array, total: float) -> Array:
        """See `Learner.penalty`: there is none."""
        return np.zeros_like(weights)

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


def _shortened(slopes: Any, clip: float) -> Any:
    """Sum of gradients [n, p] that are shortened to `clip`, float64 [p]; of those that are no
    numbers none is in it.
    """
    import torch

    slopes = slopes.double()
    lengths = slopes.norm(dim=1, keepdim=True)
    factors = (clip / lengths.clamp_min(1e-12)).clamp_max(1.0)
    return torch.where(lengths.isfinite(), slopes * factors, 0.0).sum(dim=0)
