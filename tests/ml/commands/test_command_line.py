import importlib
import json

import numpy as np
import pytest

from ml.__main__ import main
from ml.commands import COMMANDS, _common


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_listed_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])

    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "--seed" in shown
    assert "--json" in shown


def test_list_of_commands_names_each_with_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    shown = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    for name, module in COMMANDS.items():
        assert f"{name} " in shown
        assert importlib.import_module(module).HELP in shown


def test_unknown_command_is_a_usage_error() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["divine"])

    assert ended.value.code == 2


def test_json_goes_to_standard_output_with_numpy_values(capsys: pytest.CaptureFixture[str]) -> None:
    _common.write_json({"auc": np.float32(0.5), "n": np.int64(3), "curve": np.array([1, 2])}, "-")

    assert json.loads(capsys.readouterr().out) == {"auc": 0.5, "n": 3, "curve": [1, 2]}


def test_without_json_option_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    _common.write_json({"n": 1}, None)

    assert capsys.readouterr().out == ""
