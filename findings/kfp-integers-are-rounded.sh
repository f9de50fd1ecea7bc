#!/bin/bash
# kfp 2.17.0 (Kubeflow Pipelines SDK, its local runner): a component gets another integer than the pipeline gave.
#
# Expected: what is declared `int`, and compiled to NUMBER_INTEGER, is the integer that was given, or is refused: "parameter
# serialization and deserialization is invisible to the user"
# (https://kubeflow.org/docs/components/pipelines/user-guides/data-handling/parameters). That 20 can come as 20.0 is known
# (kubeflow/kubeflow#7580).
# Seen: parameters travel as doubles. 2^53 + 1 arrives as 2^53, without a word; integers within a dict arrive as floats.
# So ids and seeds are given as texts.
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check kfp==2.17.0 2>/dev/null
cat > pipeline.py <<'END'
from kfp import dsl, local


@dsl.component
def told(number: int, held: dict) -> str:
    return repr((number, held))


@dsl.pipeline
def whole(number: int) -> str:
    return told(number=number, held={"n": 1}).output


local.init(local.SubprocessRunner(use_venv=False), pipeline_root="root")
print("got", whole(number=2**53 + 1).output)
END
seen=$(env/bin/python pipeline.py 2>/dev/null | grep '^got')
echo "gave (9007199254740993, {'n': 1}), $seen"
[ "$seen" = "got (9007199254740992, {'n': 1.0})" ]
