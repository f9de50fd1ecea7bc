"""What really was, in the words of the model that it is told of."""

import math
from typing import Any

from casemate.core.types import Schema


def value_of(outcome: Any, schema: Schema) -> Any:
    """An outcome as the model could have said it; ValueError when it could not.

    Args:
        outcome: a class, by its text or the number that it names; a quantity, or one a target; of
            several labels the names that the row carries, or one class a label as answers have it.
        schema: of the model.
    """
    if outcome is None:
        raise ValueError("the outcome is missing")
    if schema.regression:
        values = outcome if isinstance(outcome, list) else [outcome]
        try:
            numbers = [float(one) for one in values]
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError("the outcome is no number") from error
        if len(numbers) != len(schema.targets) or not all(map(math.isfinite, numbers)):
            raise ValueError(f"the outcome is not {len(schema.targets)} finite numbers")
        return numbers if len(numbers) > 1 else numbers[0]
    if schema.labels:
        return _labels_of(outcome if isinstance(outcome, list) else [outcome], schema)
    found = _class_of(outcome, schema.classes)
    if found is None:
        raise ValueError("the outcome is no class of the model")
    return found


def _class_of(outcome: Any, classes: list[str]) -> str | None:
    texts = [str(outcome)]
    if isinstance(outcome, float) and outcome.is_integer():
        texts.append(str(int(outcome)))  # JSON's `1`, as earlier versions decoded it
    return next((one for one in texts if one in classes), None)


def _labels_of(said: list[Any], schema: Schema) -> list[str]:
    carried = {str(one) for one in said}
    if not carried <= {*schema.targets}:
        given = [_class_of(*pair) for pair in zip(said, schema.labels, strict=False)]
        if len(said) != len(schema.labels) or None in given:
            raise ValueError("the outcome is no label of the model")
        answers = zip(schema.targets, given, schema.labels, strict=True)
        carried = {name for name, one, classes in answers if one == classes[-1]}
    return [name for name in schema.targets if name in carried]
