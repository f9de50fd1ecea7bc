"""Layers that a stored network may have: data rebuilds them, no code of a user does.

`describe` turns a `torch.nn.Sequential` into names and arguments, `build` turns these back; what is
not listed is refused.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from casemate.core.errors import VerificationError

LAYERS: dict[str, tuple[str, ...]] = {
    "Linear": ("in_features", "out_features"),
    "Conv2d": (
        "in_channels",
        "out_channels",
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "groups",
    ),
    "ReLU": (),
    "Tanh": (),
    "GELU": (),
    "Sigmoid": (),
    "ELU": ("alpha",),
    "MaxPool2d": ("kernel_size", "stride", "padding"),
    "AvgPool2d": ("kernel_size", "stride", "padding"),
    "Flatten": ("start_dim", "end_dim"),
    "Unflatten": ("dim", "unflattened_size"),
    "Dropout": ("p",),
    "GroupNorm": ("num_groups", "num_channels", "eps", "affine"),
    "LayerNorm": ("normalized_shape", "eps", "elementwise_affine"),
    "BatchNorm1d": ("num_features", "eps", "momentum", "affine"),
    "BatchNorm2d": ("num_features", "eps", "momentum", "affine"),
    "Identity": (),
    "Wavelets2d": ("scales", "orientations", "pool", "second"),
}
"""Layer -> its arguments, by the names of torch's attributes."""
MOST_LAYERS = 500
"""A judgement, as below: networks for tables have a dozen layers."""
MOST_PARAMETERS = 500_000_000
"""Of one layer: 2 GB as float32. It is multiplied out before anything is allocated."""


class Wavelets2d(nn.Module):  # type: ignore[misc]
    """Fixed features of grey images [n, 1, h, w]: local wavelet energies at some scales and
    orientations, no parameter.

    A windowed scattering transform of first (and with `second` second) order: Bruna and Mallat,
    Invariant Scattering Convolution Networks (IEEE TPAMI 2013); good features for private linear
    models: Tramèr and Boneh, Differentially Private Learning Needs Better Features (ICLR 2021).
    Channels are normalised per image.

    Args:
        scales: scales of the wavelets, in pixels.
        orientations: directions over half a turn.
        pool: side of the windows that energies are averaged over.
        second: also wavelets of the finer scale's energies.
    """

    def __init__(
        self, scales: Any = (1, 2), orientations: int = 8, pool: int = 4, second: bool = False
    ) -> None:
        super().__init__()
        self.scales, self.orientations, self.pool, self.second = (
            tuple(scales),
            orientations,
            pool,
            second,
        )
        self.register_buffer("bank", self._bank(), persistent=False)

    def _bank(self) -> torch.Tensor:
        radius = 4
        up, across = torch.meshgrid(
            torch.arange(-radius, radius + 1.0), torch.arange(-radius, radius + 1.0), indexing="ij"
        )
        filters = []
        for scale in self.scales:
            for turn in range(self.orientations):
                angle = math.pi * turn / self.orientations
                along, aside = (
                    across * math.cos(angle) + up * math.sin(angle),
                    -across * math.sin(angle) + up * math.cos(angle),
                )
                envelope = torch.exp(-(along**2 + (0.5 * aside) ** 2) / (2 * (0.8 * scale) ** 2))
                phase = 3 * math.pi / 4 / scale * along
                real, imaginary = envelope * torch.cos(phase), envelope * torch.sin(phase)
                real = real - envelope * (real.sum() / envelope.sum())
                length = torch.sqrt((real**2 + imaginary**2).sum())
                filters += [real / length, imaginary / length]
        return torch.stack(filters)[:, None]

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """[n, 1, h, w] to [n, channels, h / pool, w / pool]."""
        energy = self._energy(pictures, self.bank)
        parts = [
            functional.avg_pool2d(pictures, self.pool),
            functional.avg_pool2d(energy, self.pool),
        ]
        if self.second:
            fine = energy[:, : self.orientations]
            count, _, height, width = fine.shape
            again = self._energy(
                fine.reshape(-1, 1, height, width), self.bank[2 * self.orientations :]
            )
            pooled = functional.avg_pool2d(again, self.pool)
            parts.append(pooled.reshape(count, -1, height // self.pool, width // self.pool))
        found = torch.cat(parts, 1)
        return functional.group_norm(found, found.shape[1])

    @staticmethod
    def _energy(pictures: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
        found = functional.conv2d(pictures, bank, padding=bank.shape[-1] // 2)
        return torch.sqrt(found[:, 0::2] ** 2 + found[:, 1::2] ** 2 + 1e-8)


def describe(network: nn.Module) -> list[tuple[str, dict[str, Any]]]:
    """Names and arguments of a Sequential's layers, nested ones unrolled.

    Raises:
        VerificationError: there is a layer that is not in `LAYERS`, or an argument that has no
            plain form.
    """
    if isinstance(network, nn.Sequential):
        return [layer for part in network for layer in describe(part)]
    name = type(network).__name__
    known = getattr(nn, name, None) is type(network) or type(network) is Wavelets2d
    if name not in LAYERS or not known:
        raise VerificationError(
            f"a stored network cannot have the layer {name}",
            hint=f"a torch.nn.Sequential of {', '.join(LAYERS)}",
        )
    arguments = {argument: _plain(getattr(network, argument)) for argument in LAYERS[name]}
    if name in ("Linear", "Conv2d"):
        arguments["bias"] = network.bias is not None
    return [(name, arguments)]


def build(layers: list[Any]) -> nn.Sequential:
    """The network that `describe` described, with fresh parameters.

    Raises:
        VerificationError: it is malformed, or larger than anything that would be stored.
    """
    if not isinstance(layers, list) or not 0 < len(layers) <= MOST_LAYERS:
        raise VerificationError("the network has no layers, or too many")
    made = []
    for layer in layers:
        try:
            name, arguments = layer
            if name not in LAYERS or not set(arguments) <= {*LAYERS[name], "bias"}:
                raise VerificationError(f"the network has the layer {name!r}, which is not allowed")
            if _size(name, arguments) > MOST_PARAMETERS:
                raise VerificationError("the network is larger than it may be")
            kind: Any = Wavelets2d if name == "Wavelets2d" else getattr(nn, name)
            made.append(
                kind(
                    **{
                        key: tuple(value) if isinstance(value, list) else value
                        for key, value in arguments.items()
                    }
                )
            )
        except (TypeError, ValueError, RuntimeError, KeyError) as error:
            raise VerificationError(f"the network has a malformed layer: {error}") from error
    return nn.Sequential(*made)


def _size(name: str, arguments: dict[str, Any]) -> int:
    if name == "Linear":
        return int(arguments["in_features"]) * int(arguments["out_features"])
    if name == "Conv2d":
        kernel = arguments["kernel_size"]
        area = math.prod(kernel) if isinstance(kernel, list | tuple) else int(kernel) ** 2
        return int(arguments["in_channels"]) * int(arguments["out_channels"]) * area
    return max(
        [
            int(math.prod(value) if isinstance(value, list | tuple) else value)
            for value in arguments.values()
            if not isinstance(value, str)
        ]
        or [0]
    )


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list | torch.Size):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    raise VerificationError(
        f"a stored network cannot have the argument {value!r}", hint="numbers only"
    )
