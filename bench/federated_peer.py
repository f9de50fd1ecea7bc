"""Flower's strategies, asked for one aggregation after the other: run by the Python of Flower's own
environment, which has no casemate. See `federated.py`.

A question is a line of JSON and the updates as float64; the answer is one update, or none: `0` and
a line's end, where the strategy skips the round.
"""

import json
import os
import sys

os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}

import logging

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower
from flwr.supercore.task_identity import TaskIdentity

logging.getLogger("flwr").setLevel(logging.ERROR)


def strategy_of(name, sites, liars):
    """The strategy, told how many may lie."""
    return {
        "FedAvg": flower.FedAvg,
        "FedMedian": flower.FedMedian,
        "FedTrimmedAvg": lambda: flower.FedTrimmedAvg(beta=liars / sites),
        "Krum": lambda: flower.Krum(num_malicious_nodes=liars),
        "MultiKrum": lambda: flower.MultiKrum(
            num_malicious_nodes=liars, num_nodes_to_select=sites - liars - 2
        ),
        "Bulyan": lambda: flower.Bulyan(num_malicious_nodes=liars),
    }[name]()


def main():
    """Until nobody asks any more."""
    # messages are made inside of a run only
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
    while line := sys.stdin.buffer.readline():
        asked = json.loads(line)
        shape = (asked["sites"], asked["numbers"])
        moved = np.frombuffer(sys.stdin.buffer.read(8 * shape[0] * shape[1])).reshape(shape)
        replies = [
            Message(
                RecordDict(
                    {
                        "arrays": ArrayRecord([np.array(update)]),
                        "metrics": MetricRecord({"num-examples": rows}),
                    }
                ),
                dst_node_id=place + 1,
                message_type="train",
            )
            for place, (update, rows) in enumerate(zip(moved, asked["rows"], strict=True))
        ]
        arrays, _ = strategy_of(asked["strategy"], shape[0], asked["liars"]).aggregate_train(
            1, replies
        )
        found = np.zeros(0) if arrays is None else arrays.to_numpy_ndarrays()[0]
        sys.stdout.buffer.write(b"%d\n" % len(found))
        sys.stdout.buffer.write(np.ascontiguousarray(found, dtype="<f8").tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
