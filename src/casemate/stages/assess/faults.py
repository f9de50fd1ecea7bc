"""Why a measurement or a model failed, in words of ours.

What a library says may quote a cell, and an estimator's own texts (names, categories, parameters)
were chosen by code that saw the
rows: so of an exception only the type is told, and where it was called.
"""

import traceback


def plain(error: Exception) -> str:
    """The type of an exception, and the place in casemate; the text of one of casemate's own."""
    name = type(error).__name__
    if type(error).__module__.startswith("casemate."):
        return f"{name}: {error}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "/casemate/" in frame.filename
    ]
    where = (
        f" ({frames[-1].filename.rpartition('/casemate/')[2]} line {frames[-1].lineno})"
        if frames
        else ""
    )
    missing = ": the model does not take missing values" if "contains NaN" in str(error) else ""
    return f"{name}{missing}{where}"
