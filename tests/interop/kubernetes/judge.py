"""Asks two implementations of CEL which rules of a policy refuse which pods. Run by an interpreter that has
them; standard input: {"spec": ..., "pods": [...]}; standard output: per implementation and pod a list of messages.
"""

import json
import sys

import cel
import celpy
from celpy import json_to_cel
from celpy.celtypes import MapType, StringType


def in_rust(spec, pod):
    known = {}
    for one in spec["variables"]:
        known[one["name"]] = cel.evaluate(one["expression"], {"object": pod, "variables": known})
    activation = {"object": pod, "variables": known}
    return [
        rule["message"]
        for rule in spec["validations"]
        if cel.evaluate(rule["expression"], activation) is not True
    ]


def in_python(spec, pod):
    environment, known = celpy.Environment(), MapType()

    def value(expression):
        program = environment.program(environment.compile(expression))
        return program.evaluate({"object": json_to_cel(pod), "variables": known})

    for one in spec["variables"]:
        known[StringType(one["name"])] = value(one["expression"])
    return [rule["message"] for rule in spec["validations"] if not value(rule["expression"])]


given = json.load(sys.stdin)
answers = [[judge(given["spec"], pod) for pod in given["pods"]] for judge in (in_rust, in_python)]
json.dump(answers, sys.stdout)
