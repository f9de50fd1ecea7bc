"""Search, refit, export, all inside the sandbox. `stage.py` is outside, with what it needs (`tools`,
`training_code`, `answer`, `promise`); `fit.py`, `search.py`, `export.py` are inside.
"""
