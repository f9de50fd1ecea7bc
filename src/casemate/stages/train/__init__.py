"""Search, refit, export, all inside the sandbox. `stage.py` is outside, with `tools`,
`training_code`, `answer` and `promise`; `fit.py`, `search.py`, `export.py` are inside.
"""
