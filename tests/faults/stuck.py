"""`casemate serve` with models that do not come to an end when a row's first value says so: `python
stuck.py serve --port 0`.

The real component is what stands still: an ONNX graph whose loop never ends (its code lets other
threads of Python go on), and a system call that keeps Python's lock to itself (it lets none). What
is not real is only how such a model got past the gates.
"""

import ctypes
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper

from casemate.cli import main
from casemate.ml.models import onnx_session
from casemate.serve.endpoint import Endpoint

LOOPS, HOLDS = 77_777.0, 88_888.0
"""First value of a row that starts the endless loop, and that keeps the lock."""


def endless() -> onnx.ModelProto:
    """A graph that counts for ever."""
    value = helper.make_tensor_value_info
    one = helper.make_tensor("one", TensorProto.INT64, [], [1])
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    body = helper.make_graph(
        [
            helper.make_node("Constant", [], ["going"], value=yes),
            helper.make_node("Constant", [], ["step"], value=one),
            helper.make_node("Add", ["count", "step"], ["more"]),
        ],
        "body",
        [
            value("turn", TensorProto.INT64, []),
            value("before", TensorProto.BOOL, []),
            value("count", TensorProto.INT64, []),
        ],
        [value("going", TensorProto.BOOL, []), value("more", TensorProto.INT64, [])],
    )
    nodes = [
        helper.make_node("Constant", [], ["start"], value=yes),
        helper.make_node("Loop", ["", "start", "x"], ["y"], body=body),
    ]
    graph = helper.make_graph(
        nodes, "endless", [value("x", TensorProto.INT64, [])], [value("y", TensorProto.INT64, [])]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def install() -> None:
    """Let every endpoint stand still when it is told to."""
    predict, session = Endpoint.predict, onnx_session(endless().SerializeToString())

    def stuck(self: Endpoint, rows):
        first = np.asarray(rows)[:, 0]
        if (first == LOOPS).any():
            session.run(None, {"x": np.array(0)})
        if (first == HOLDS).any():
            while True:
                ctypes.PyDLL(None).pause()
        return predict(self, rows)

    Endpoint.predict = stuck


if __name__ == "__main__":
    install()
    sys.exit(main(sys.argv[1:]))
