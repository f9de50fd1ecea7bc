"""What cannot go on with the rows beside a sample is told when casemate.toml is read."""

import pytest
from tests.conftest import TOML

from casemate import config
from casemate.core.errors import ConfigError

ALL = ("data.sample=1000", 'train.rows="all"')


def test_a_sample_may_be_gone_on_from():
    assert config.parse(TOML, [*ALL]).train.rows == "all"
    assert config.parse(TOML).train.rows == "sample"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([ALL[1]], "needs [data] sample"),
        ([*ALL, 'train.mode="adversarial"'], "'adversarial' training needs all its rows at once"),
        ([*ALL, 'train.split="ordered"'], "a row beside them may be newer or older"),
        ([*ALL, "train.costs={ a = 1.0, b = 2.0 }"], "costs decide the threshold"),
        ([*ALL, 'data.target=["t", "u"]'], "several labels are learnt by a model each"),
        ([*ALL, 'train.model="m.onnx"'], "an imported model is not trained here"),
    ],
)
def test_what_does_not_go_on_says_why(overrides, words):
    with pytest.raises(ConfigError) as refused:
        config.parse(TOML, overrides)
    assert words in f"{refused.value.message} {refused.value.hint}"
