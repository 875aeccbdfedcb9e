import json
import os
import subprocess
import sys

import torch

from ml.segmentation.parallel import average_weights, from_first, replica, replicas
from tests.ml.segmentation.test_train import TINY
from tests.ml.segmentation.vessel_sets import write_set
from tests.support import REPOSITORY, free_port


def test_process_on_its_own_is_the_first_of_one():
    network = torch.nn.Linear(2, 1)
    before = network.weight.clone()

    average_weights(network)

    assert (replica(), replicas(), from_first(0.25)) == (0, 1, 0.25)
    assert torch.equal(network.weight, before)


def test_two_processes_train_together_and_the_first_writes(tmp_path):
    folder = write_set(tmp_path / "SET", count=3, side=96)
    (tmp_path / "tiny.toml").write_text(TINY)
    command = [sys.executable, "-m", "ml", "train-segmenter", "--config", str(tmp_path / "tiny.toml")]
    command += ["--data", str(folder), "--out", str(tmp_path / "run"), "--threads", "1"]
    shared = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}

    processes = [
        subprocess.Popen(command, env=shared | {"RANK": str(rank)}, cwd=REPOSITORY, stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=120)[1].decode() for process in processes]

    assert [process.returncode for process in processes] == [0, 0], errors
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["processes"] == 2
    assert metrics["steps"] == 20
