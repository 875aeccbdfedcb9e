"""Set-up of the numeric frameworks: threads, seeds, devices, memory, log noise."""

import os
import random
import sys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


def prepare_tensorflow() -> None:
    """Set what TensorFlow and Keras read once, on import: quiet log, memory that grows on demand, backend.

    Call it before the first import of either. Values that are already in the environment win.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")


def import_tensorflow() -> None:
    """Import TensorFlow without the lines that it writes to standard error before its log level counts.

    Warnings of missing CUDA libraries would greet every user of a machine without a GPU. An import
    that fails still raises.
    """
    prepare_tensorflow()
    if "tensorflow" in sys.modules:
        return
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow  # noqa: F401
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def limit_threads(count: int) -> None:
    """Let numeric libraries use at most ``count`` threads.

    Libraries that are loaded later read the environment; a loaded PyTorch is told directly. A
    TensorFlow that has already computed something keeps its number.

    Args:
        count: Threads, at least 1.

    Raises:
        ValueError: ``count`` is below 1.
    """
    if count < 1:
        raise ValueError("count must be at least 1")
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = str(count)
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and every framework that is loaded, so that a run can be repeated.

    Args:
        seed: 0 to 2**32 - 1.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries below us still draw from the legacy generator
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(seed)


def torch_device() -> "torch.device":
    """Return the accelerator of PyTorch when there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
