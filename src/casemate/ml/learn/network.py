"""A torch network as a scikit-learn classifier: plain, hardened by PGD, or differentially private
by Opacus.

The network is a `torch.nn.Sequential` of listed layers over features that are scaled to [0, 1] by
pinned or declared bounds and one-hot categories. Hardened: Madry et al., ICLR 2018. Private: Abadi
et al., CCS 2016; where only the last linear layer is trained, the layers before it are computed
once and `linear.descend` does the rest without sampling.
"""

import secrets
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin

from casemate.core.errors import BackendError, ConfigError
from casemate.ml.learn.accountant import Gaussians, sigma_for

Array = np.ndarray[Any, Any]
CHUNK = 4_096
"""Rows that the network answers at once: bounds memory."""
PHYSICAL = 256
"""Rows whose own gradients are held at once; Opacus adds them up to the batch, so neither privacy
nor the result depends on it.
"""
EPS_SHARE = 3
"""A step is a third of eps: three cross from the middle of the ball to a face, six from face to
face.
"""


def torch_or_refuse() -> Any:
    """The torch module; BackendError when it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise BackendError(
            "torch is not installed",
            hint='install a CPU build of torch first, then pip install "casemate[torch]"',
        ) from error
    return torch


class NetworkClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Trains a network on a feature frame; only `layers` decide its shape.

    Args:
        layers: as `layers.describe` gives them; the last one has as many outputs as there are
            classes.
        frozen: parameters by name that stay as they are, such as a fixed first convolution.
        numbers: (least, greatest) per numeric feature, in the frame's order.
        categories: values per category.
        mode: `plain`, `adversarial` or `private`.
        epochs: passes over the rows (private with one trained layer: noisy full-batch steps).
        batch: rows a step.
        rate: learning rate (Adam; SGD with momentum when private).
        momentum: of SGD.
        eps: attack size, per feature after scaling, when hardened: a number, or one per encoded
            feature.
        attack_steps: steps of the attack.
        sigma: noise over the clip, when private.
        clip: largest norm of one row's gradient, when private.
        seed: of initial weights and order; the noise and the batches of private training have
            secret ones.
        units: about how many rows there are, from what is known: private training in batches draws
            each row with the probability batch / units and makes epochs * units / batch steps,
            whatever the table holds.
    """

    def __init__(
        self,
        layers: Any = (),
        frozen: dict[str, Array] | None = None,
        numbers: dict[str, tuple[float, float]] | None = None,
        categories: dict[str, list[str]] | None = None,
        mode: str = "plain",
        epochs: int = 10,
        batch: int = 128,
        rate: float = 0.001,
        momentum: float = 0.9,
        eps: float = 0.1,
        attack_steps: int = 7,
        sigma: float = 1.0,
        clip: float = 1.0,
        seed: int = 0,
        units: int | None = None,
    ) -> None:
        self.layers = layers
        self.frozen = frozen
        self.numbers = numbers
        self.categories = categories
        self.mode = mode
        self.epochs = epochs
        self.batch = batch
        self.rate = rate
        self.momentum = momentum
        self.eps = eps
        self.attack_steps = attack_steps
        self.sigma = sigma
        self.clip = clip
        self.seed = seed
        self.units = units

    def encode(self, frame: pd.DataFrame) -> Array:
        """Scaled numbers and one-hot categories, float32 [n, d]; missing numbers lie in the middle,
        unknown categories nowhere.
        """
        parts = []
        for name, (low, high) in (self.numbers or {}).items():
            values = (frame[name].to_numpy(dtype=np.float64) - low) / ((high - low) or 1.0)
            parts.append(np.nan_to_num(np.clip(values, 0, 1), nan=0.5)[:, None])
        for name, kinds in (self.categories or {}).items():
            parts.append(
                frame[name].to_numpy(dtype=object)[:, None] == np.array(kinds, dtype=object)[None]
            )
        return np.ascontiguousarray(np.hstack(parts), dtype=np.float32)

    def fit(self, X: pd.DataFrame, y: Any) -> "NetworkClassifier":  # noqa: N803 - scikit-learn's names
        """Train on a feature frame; classes are numbers 0..k-1."""
        torch = torch_or_refuse()
        from casemate.ml.learn.layers import build

        codes = torch.as_tensor(np.asarray(y, dtype=np.int64))
        rows = torch.as_tensor(self.encode(X))
        torch.manual_seed(self.seed)
        network = build(list(self.layers))
        state = network.state_dict()
        for name, value in (self.frozen or {}).items():
            state[name].copy_(torch.as_tensor(value))
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name not in (self.frozen or {}))
        # In private training the classes are declared: whether there is somebody of one is nobody's
        # business.
        self.classes_ = (
            np.arange(outputs(network, rows.shape[1])) if self.mode == "private" else np.unique(y)
        )
        self.steps_, self.sample_rate_ = 0, 1.0
        if self.mode == "private":
            network = self._private(network, rows, codes)
        else:
            self._train(network, rows, codes)
        self.network_ = network.eval()
        return self

    def predict_proba(self, X: pd.DataFrame) -> Array:  # noqa: N803
        """The probability of each class for each row, [n, k]."""
        import torch

        return np.asarray(
            torch.softmax(torch.as_tensor(self.logits(X)), dim=1).numpy(), dtype=np.float64
        )

    def predict(self, X: pd.DataFrame) -> Array:  # noqa: N803
        """The likeliest class of each row, [n]."""
        return np.asarray(self.classes_[self.logits(X).argmax(axis=1)])

    def logits(self, frame: pd.DataFrame) -> Array:
        """The network's outputs, float32 [n, k]."""
        import torch

        rows = torch.as_tensor(self.encode(frame))
        with torch.no_grad():
            return np.asarray(
                torch.cat(
                    [
                        self.network_(rows[start : start + CHUNK])
                        for start in range(0, len(rows), CHUNK)
                    ]
                ).numpy()
            )

    def _train(self, network: Any, rows: Any, codes: Any) -> None:
        import torch
        from torch.nn import functional

        optimizer = torch.optim.Adam(
            [parameter for parameter in network.parameters() if parameter.requires_grad],
            lr=self.rate,
        )
        size = torch.as_tensor(
            np.broadcast_to(np.asarray(self.eps, dtype=np.float32), (rows.shape[1],)).copy()
        )
        for epoch in range(self.epochs):
            order = torch.randperm(
                len(rows), generator=torch.Generator().manual_seed(self.seed + epoch)
            )
            for start in range(0, len(rows), self.batch):
                at = order[start : start + self.batch]
                if len(at) < 2 < len(rows):  # batch normalisation needs two rows
                    continue
                network.train()
                given = rows[at]
                if self.mode == "adversarial":
                    given = pgd(network, given, codes[at], size, self.attack_steps)
                optimizer.zero_grad()
                functional.cross_entropy(network(given), codes[at]).backward()
                optimizer.step()

    def _private(self, network: Any, rows: Any, codes: Any) -> Any:
        train = self._private_head if head_only(self.layers, self.frozen) else self._private_network
        return train(network, rows, codes)

    def _private_head(self, network: Any, rows: Any, codes: Any) -> Any:
        """Only the last layer is trained: noisy full-batch steps on what comes before it."""
        import torch

        from casemate.ml.learn.linear import descend, noisy_sums

        before, head = network[:-1].eval(), network[-1]
        with torch.no_grad():
            found = torch.cat(
                [before(rows[start : start + 500]) for start in range(0, len(rows), 500)]
            ).numpy()
        scale = np.float32(1.0 / np.sqrt(found.shape[1] + 1.0))
        inputs = np.hstack([found, np.ones((len(found), 1), dtype=np.float32)]) * scale
        del found
        size = (self.sigma, self.epochs, self.rate, self.clip, self.momentum)
        weights = descend(inputs, codes.numpy(), head.out_features, None, *size, self.units) * scale
        with torch.no_grad():
            head.weight.copy_(torch.as_tensor(weights[:-1].T))
            head.bias.copy_(torch.as_tensor(weights[-1]))
        self.steps_ = noisy_sums(self.epochs, self.units)
        return network

    def _private_network(self, network: Any, rows: Any, codes: Any) -> Any:
        import warnings

        import torch
        from torch.nn import functional
        from torch.utils.data import DataLoader, TensorDataset

        try:
            from opacus import PrivacyEngine
            from opacus.utils.batch_memory_manager import BatchMemoryManager
            from opacus.utils.uniform_sampler import UniformWithReplacementSampler
        except ImportError as error:
            raise BackendError(
                "Opacus is not installed", hint='pip install "casemate[torch]"'
            ) from error

        trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.SGD(trainable, lr=self.rate, momentum=self.momentum)
        plan = planned(self.layers, self.frozen, self.units, self.epochs, self.batch)
        loader = DataLoader(TensorDataset(rows, codes), batch_size=min(self.batch, len(rows)))
        secret = torch.Generator().manual_seed(secrets.randbits(63))
        # Sampling hides who took part in a step, so whoever knows [train] seed must not know the
        # batches.
        drawn = torch.Generator().manual_seed(secrets.randbits(63))
        with warnings.catch_warnings():
            # Opacus warns of hooks and of its noise generator; see SECURITY.md
            warnings.simplefilter("ignore")
            engine = PrivacyEngine(accountant="rdp")
            network, optimizer, loader = engine.make_private(
                module=network.train(),
                optimizer=optimizer,
                data_loader=loader,
                noise_multiplier=self.sigma,
                max_grad_norm=self.clip,
                noise_generator=secret,
            )
            # Opacus reckons rate, steps and batch size from the number of rows; here they are
            # declared.
            loader.batch_sampler.sample_rate, loader.batch_sampler.generator = plan.rate, drawn
            loader.batch_sampler.steps = plan.steps // self.epochs
            optimizer.expected_batch_size = min(self.batch, self.units or self.batch)
            assert isinstance(loader.batch_sampler, UniformWithReplacementSampler)  # noqa: S101 - whose fields these are
            for _ in range(self.epochs):
                with BatchMemoryManager(
                    data_loader=loader, max_physical_batch_size=PHYSICAL, optimizer=optimizer
                ) as batches:
                    for given, classes in batches:
                        optimizer.zero_grad()
                        # also of nobody: the noise is due at each step
                        functional.cross_entropy(network(given), classes).backward()
                        optimizer.step()
        self.steps_, self.sample_rate_ = plan.steps, plan.rate
        return network._module  # noqa: SLF001 - Opacus' way back to the network itself

    def spent(self) -> Gaussians:
        """What private training did, for the accountant."""
        return Gaussians(sigma=self.sigma, steps=self.steps_, rate=self.sample_rate_)


def head_only(layers: Any, frozen: dict[str, Array] | None) -> bool:
    """Whether only the last layer, a linear one, is trained, and what comes before it answers
    always alike.
    """
    from casemate.ml.learn.layers import build

    trained = {name for name, _ in build(list(layers)).named_parameters()} - set(frozen or {})
    last = len(layers) - 1
    return (
        layers[-1][0] == "Linear"
        and trained == {f"{last}.weight", f"{last}.bias"}
        and not any(name == "Dropout" for name, _ in layers)
    )


def outputs(network: Any, width: int) -> int:
    """How many classes a network of `width` encoded features has."""
    import torch

    with torch.no_grad():
        return int(network.eval()(torch.zeros(1, width)).shape[1])


def planned(
    layers: Any, frozen: dict[str, Array] | None, units: int | None, epochs: int, batch: int
) -> Gaussians:
    """Noisy sums and sampling rate of a private training before it starts (sigma 1): of what is
    declared, never of the rows.

    Raises:
        ConfigError: batches are drawn, and how many rows there are is not declared.
    """
    from casemate.ml.learn.linear import noisy_sums

    if head_only(layers, frozen):
        return Gaussians(sigma=1.0, steps=noisy_sums(epochs, units))
    if units is None:
        raise ConfigError(
            "a torch network that is trained in batches needs to know about how many rows"
            " there are",
            hint=(
                "[privacy] rows = ..., from what you know; with it the sampling rate and the steps"
                " are no fact about the table"
            ),
        )
    per_epoch = -(-units // min(batch, units))
    return Gaussians(sigma=1.0, steps=epochs * per_epoch, rate=min(batch, units) / units)


def noise_for(plan: Gaussians, epsilon: float, delta: float) -> float:
    """The noise that a planned training needs."""
    return sigma_for(epsilon, delta, plan.steps, plan.rate)


def pgd(network: Any, rows: Any, codes: Any, eps: Any, steps: int) -> Any:
    """Rows moved by at most `eps` (a tensor [d]) so that the loss grows, inside [0, 1]."""
    import torch
    from torch.nn import functional

    network.eval()
    moved = (rows + (2 * torch.rand_like(rows) - 1) * eps).clamp(0, 1)
    for _ in range(steps):
        moved.requires_grad_(True)
        (slope,) = torch.autograd.grad(functional.cross_entropy(network(moved), codes), moved)
        moved = moved.detach() + eps / EPS_SHARE * slope.sign()
        moved = torch.maximum(torch.minimum(moved, rows + eps), rows - eps).clamp(0, 1)
    network.train()
    return moved.detach()
