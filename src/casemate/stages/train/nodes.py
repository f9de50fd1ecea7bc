"""Nodes of an ONNX graph that skl2onnx builds."""

from typing import Any

import numpy as np
from onnx import numpy_helper

LEARNT = {"LabelEncoder": 2, "TreeEnsemble": 3}
"""Operators of ai.onnx.ml, with the version that skl2onnx is told: it knows none after 3, and
`export` corrects it.
"""
Array = np.ndarray[Any, Any]


class Nodes:
    """Adds nodes to a container of skl2onnx; calling it adds one and gives the name of what comes
    out.
    """

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:
        self.scope, self.operator, self.container = scope, operator, container

    def __call__(
        self, kind: str, inputs: list[str], output: str | None = None, **attributes: Any
    ) -> str:
        """Add an operator; returns the name of what it gives."""
        name = str(output or self.scope.get_unique_variable_name(kind.lower()))
        domain, version = ("ai.onnx.ml", LEARNT[kind]) if kind in LEARNT else ("", None)
        operator = self.scope.get_unique_operator_name(kind)
        self.container.add_node(
            kind, inputs, name, op_domain=domain, op_version=version, name=operator, **attributes
        )
        return name

    def number(self, values: Array) -> str:
        """An initialiser; text where the array holds objects."""
        name = str(self.scope.get_unique_variable_name("number"))
        self.container.initializers.append(numpy_helper.from_array(values, name))
        return name

    def whole(self, *values: int) -> str:
        """The same of whole numbers."""
        return self.number(np.array(values, dtype=np.int64))

    def answer(self, parts: list[str]) -> None:
        """The last output is these columns, side by side."""
        if not parts:
            raise ValueError("a step without columns")
        joined = parts[0] if len(parts) == 1 else self("Concat", parts, axis=1)
        self("Identity", [joined], self.operator.outputs[-1].full_name)
