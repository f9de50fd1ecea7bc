"""Runs a pipeline of a rendered pipeline.py by kfp's local runner: FILE FOLDER PIPELINE [NAME=VALUE]."""

import importlib.util
import json
import sys

from kfp import local

path, root, name, *said = sys.argv[1:]
found = importlib.util.spec_from_file_location("pipeline", path)
module = sys.modules["pipeline"] = importlib.util.module_from_spec(found)
found.loader.exec_module(module)
local.init(
    runner=local.SubprocessRunner(use_venv=False),
    pipeline_root=root,
    raise_on_error=True,
)
getattr(module, name)(**dict(one.split("=", 1) for one in said))
print(json.dumps({"ended": name}))
