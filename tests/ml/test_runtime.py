import os
import random
import subprocess
import sys

import numpy as np
import pytest

from ml import runtime
from tests.support import REPOSITORY


def drawn() -> tuple[float, float]:
    return random.random(), np.random.rand()  # noqa: NPY002


def test_same_seed_gives_the_same_numbers() -> None:
    runtime.seed_everything(5)
    first = drawn()
    runtime.seed_everything(5)

    assert drawn() == first


def test_thread_limit_is_announced_to_libraries_that_load_later(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        monkeypatch.setenv(variable, "7")
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "7")
    monkeypatch.delitem(sys.modules, "torch", raising=False)

    runtime.limit_threads(2)

    assert os.environ["OMP_NUM_THREADS"] == os.environ["TF_NUM_INTRAOP_THREADS"] == "2"


def test_no_threads_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        runtime.limit_threads(0)


def test_a_setting_of_the_operator_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")

    runtime.prepare_tensorflow()

    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"


def test_web_side_modules_load_no_framework() -> None:
    script = (
        "import sys; import ml.imaging.intake, ml.bundle, ml.contracts, ml.imaging.io, ml.imaging.quality, ml.pipeline;"
        "print({'torch', 'tensorflow', 'keras', 'django', 'matplotlib'} & set(sys.modules))"
    )

    child = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert (child.stdout, child.stderr) == ("set()\n", "")
