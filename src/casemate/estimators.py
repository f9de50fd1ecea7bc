"""Estimators for use in Python: ones that can be unlearnt, differentially private ones, and torch
networks.

`PrivateClassifier` needs `casemate[private]`; `NetworkClassifier` and the layer `Wavelets2d` need
torch.
"""

from typing import TYPE_CHECKING, Any

from casemate.ml.learn.forest import UnlearnableForestClassifier, UnlearnableForestRegressor
from casemate.ml.learn.leastsquares import UnlearnableRidge
from casemate.ml.learn.linear import PrivateClassifier

if TYPE_CHECKING:
    from casemate.ml.learn.layers import Wavelets2d
    from casemate.ml.learn.network import NetworkClassifier

__all__ = [
    "NetworkClassifier",
    "PrivateClassifier",
    "UnlearnableForestClassifier",
    "UnlearnableForestRegressor",
    "UnlearnableRidge",
    "Wavelets2d",
]


def __getattr__(name: str) -> Any:
    """What needs torch is loaded when it is asked for."""
    if name == "NetworkClassifier":
        from casemate.ml.learn.network import NetworkClassifier

        return NetworkClassifier
    if name == "Wavelets2d":
        from casemate.ml.learn.layers import Wavelets2d

        return Wavelets2d
    raise AttributeError(name)
