"""A source that a fine-tuned network never saw: not one photograph of it teaches, all of them measure."""

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from ml.__main__ import main
from ml.classification import finetune
from ml.classification.config import TrainingConfig
from ml.classification.data import CLASSES, labels_of, load_crops, read_manifest
from ml.evaluation import predictions
from ml.evaluation.classification import Scored
from ml.evaluation.unseen_source import fine_tune_without_each_source
from tests.ml.classification.conftest import photographs  # noqa: F401
from tests.ml.classification.networks import SIDE, tiny_config


@pytest.fixture
def two_sources(photographs: Path, tmp_path: Path) -> Path:  # noqa: F811
    """Return a manifest whose every other photograph of a class comes from another source."""
    with photographs.open() as stream:
        rows = list(csv.DictReader(stream))
    for index, row in enumerate(rows):
        row["source_dataset"] = "BA"[index // 4 % 2]
        row["file"] = str(photographs.parent / row["file"])
    with (tmp_path / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path / "manifest.csv"


def config_of(**shares: float) -> TrainingConfig:
    config = tiny_config(steps_per_epoch=6, linear_head=False)
    return replace(config, data=replace(config.data, source_share=shares))


def known(manifest: Path, *, leave_out: int = 0) -> Path:
    """Write predictions that are all right."""
    rows = read_manifest(manifest)[leave_out:]
    labels = labels_of(rows)
    scored = Scored(
        classes=CLASSES,
        labels=labels,
        probabilities=np.eye(4)[labels] * 0.9 + 0.025,
        sources=np.asarray([row.source for row in rows]),
        groups=np.asarray([row.group for row in rows]),
        named=np.zeros(len(rows), dtype=int),
        ungradable=np.zeros(len(rows), bool),
    )
    predictions.write(manifest.parent / "seen.csv", rows, scored, shortcuts=np.ones((len(rows), 5)))
    return manifest.parent / "seen.csv"


def measure(manifest: Path, **options: Any) -> dict[str, Any]:
    places = {"manifest": manifest, "root": manifest.parent, "weights_dir": manifest.parent}
    return fine_tune_without_each_source(
        config_of(A=0.5, B=0.5), side=SIDE, out=manifest.parent / "runs", **places, **{"draws": 20, **options}
    )


def command(manifest: Path, config: TrainingConfig, *words: str, seen: Path) -> int:
    root, file = manifest.parent, manifest.parent / "tiny.toml"
    file.write_text(tomli_w.dumps({key: value for key, value in asdict(config).items() if value is not None}))
    places = ["--manifest", str(manifest), "--root", str(root), "--out", str(root / "runs"), "--seen", str(seen)]
    return main(["unseen-source", "--config", str(file), *places, *words])


def test_no_photograph_of_the_source_teaches_and_all_of_them_measure(
    two_sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: dict[str, set[int]] = {}
    augment, current = finetune.augment, []

    def remember(crop: Any, rng: Any, settings: Any) -> Any:
        taught.setdefault(current[-1][0], set()).add(int(crop.astype(int).sum()))
        return augment(crop, rng, settings)

    monkeypatch.setattr(finetune, "augment", remember)

    result = measure(
        two_sources,
        seen=known(two_sources),
        progress=lambda line: current.extend(line.split("without ")[1:]),
    )

    sums = {source: _sums(two_sources, source) for source in "AB"}
    assert not sums["A"] & sums["B"]
    assert taught["A"]
    assert taught["A"] <= sums["B"]
    assert taught["B"] <= sums["A"]
    assert {source: row["n"] for source, row in result.items()} == {"A": 24, "B": 24}
    for row in result.values():
        assert row["seen"]["macro_auc"] == 1
        assert row["loss"] == pytest.approx(1 - row["unseen"]["macro_auc"])
        assert row["unseen"]["ci95"][0] <= row["unseen"]["macro_auc"] <= row["unseen"]["ci95"][1]


def _sums(manifest: Path, source: str) -> set[int]:
    """Tell the crops of one source apart from all others by the sum of their pixels."""
    rows = [row for row in read_manifest(manifest) if row.source == source]
    return {int(crop.astype(int).sum()) for crop in load_crops(rows, manifest.parent, side=SIDE)[0]}


def test_photograph_without_a_prediction_is_refused(two_sources: Path) -> None:
    with pytest.raises(ValueError, match="lack 2 photographs of B"):
        measure(two_sources, seen=known(two_sources, leave_out=2))


def test_command_repeats_the_figures_of_finished_runs(two_sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = known(two_sources)
    expected = measure(two_sources, seen=seen, draws=1000)

    status = command(two_sources, config_of(A=0.5, B=0.5), "--json", "-", seen=seen)

    told = capsys.readouterr()
    assert status == 0
    assert json.loads(told.out) == {"per_source": json.loads(json.dumps(expected))}
    assert "epoch" not in told.err


def test_command_refuses_one_source_with_a_sentence(two_sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = command(two_sources, config_of(A=1.0), seen=known(two_sources))

    assert status == 2
    assert "two sources" in capsys.readouterr().err
