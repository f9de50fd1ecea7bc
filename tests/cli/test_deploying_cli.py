"""`casemate deploy apply`: what its options say of which target."""

import pytest

from casemate.cli import main


@pytest.mark.parametrize(
    "option",
    [
        ("--kubeconfig", "f"), ("--metrics-ca", "f"), ("--metrics-token", "env:T"),
        ("--grace-seconds", "5"), ("--take-over",),
    ],
)  # fmt: skip
def test_an_option_of_clusters_is_refused_for_an_endpoint(option, cli, tmp_path):
    done = cli("deploy", "apply", tmp_path, "--to", "sagemaker", *option)
    assert done.code == 2
    assert f"{option[0]} is for clusters" in done.err


@pytest.mark.parametrize("text", ["soon", "nan", "-1", "86401"])
def test_what_is_no_number_of_seconds_is_said_to_be_none(text, capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        main(["deploy", "apply", str(tmp_path), "--to", "sagemaker", f"--ready-seconds={text}"])
    assert end.value.code == 2
    assert f"'{text}' is no number of seconds from 0 to 86400" in capsys.readouterr().err
