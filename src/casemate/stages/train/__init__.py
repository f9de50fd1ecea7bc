"""Search, refit, export, all inside the sandbox. `stage.py` is outside; `fit.py`, `search.py`,
`export.py` inside.
"""
