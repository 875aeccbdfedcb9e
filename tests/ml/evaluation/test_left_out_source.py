import csv

import numpy as np
import pytest

from ml.__main__ import main
from ml.classification import config as configs
from ml.classification.data import CLASSES, read_manifest
from ml.evaluation import left_out_source
from ml.generation.probe import ProbeInputs
from tests.ml.classification.networks import SIDE
from tests.ml.generation.sets import labelled_set
from tests.support import REPOSITORY

TRAINING, VALIDATION, TEST = 3, 2, 1


def manifest_of(root, sources, *, count=60):
    """Write rows without pictures: every source has retinopathy and normal, half of each for training."""
    with (root / "manifest.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "class", "source_dataset", "label_quality", "split_group", "fold5"])
        for source in sources:
            for index in range(count):
                label = CLASSES[0 if index % 2 else 3]
                writer.writerow([f"{source}{index}.jpg", label, source, "strong", index, (1, 3)[index // 2 % 2]])
    return root / "manifest.csv"


def inputs_of(manifest, sources):
    config = configs.TrainingConfig(
        name="tiny",
        kind="photograph",
        seed=1,
        network=configs.NetworkConfig(architecture="cnn", side=SIDE),
        data=configs.DataConfig(
            source_share=dict.fromkeys(sources, 1.0),
            class_share=dict.fromkeys(CLASSES, 0.25),
            quality_weight={},
            test_folds=(TEST,),
            validation_folds=(VALIDATION,),
        ),
        fit=configs.FitConfig(epochs=0),
    )
    return ProbeInputs(
        config=config, manifest=manifest, root=manifest.parent, weights_dir=manifest.parent, cache=manifest.parent
    )


def test_a_sign_of_one_camera_is_lost_with_its_source_and_a_shared_one_is_not(tmp_path, monkeypatch):
    """In A the disease shows as in B; in C it shows in a feature of its own, and reversed in the shared one."""

    def features(inputs, variant, photographs):
        del inputs, variant
        random = np.random.default_rng(0)
        ill = np.asarray([1.0 if row.label == CLASSES[0] else -1.0 for row in photographs])
        is_c = np.asarray([row.source == "C" for row in photographs])
        shared = np.where(is_c, -0.3 * ill, ill) + random.normal(0, 0.5, ill.size)
        own = np.where(is_c, 3 * ill, 0) + random.normal(0, 0.5, ill.size)
        return np.stack([shared, own], axis=1).astype(np.float32)

    monkeypatch.setattr(left_out_source, "pooled_features", features)
    inputs = inputs_of(manifest_of(tmp_path, "ABC"), "ABC")

    result = left_out_source.leave_one_source_out(inputs, strength=1.0, draws=50)["per_source"]

    assert set(result) == {"A", "B", "C"}
    assert result["A"]["n"] == sum(row.fold == TEST and row.source == "A" for row in read_manifest(inputs.manifest))
    assert result["A"]["unseen"]["macro_auc"] > 0.9
    assert result["C"]["seen"]["macro_auc"] > 0.9
    assert result["C"]["unseen"]["macro_auc"] < 0.5
    assert result["C"]["loss"] == pytest.approx(
        result["C"]["seen"]["macro_auc"] - result["C"]["unseen"]["macro_auc"], abs=2e-4
    )
    assert result["C"]["loss_ci95"][0] > 0.2
    assert set(result["C"]["seen"]["auc"]) == {CLASSES[0], CLASSES[3]}


@pytest.mark.parametrize(("gap", "expected"), [(8.0, 1.0), (0.0, 0.5)])
def test_source_is_predicted_where_the_features_tell_it_and_by_chance_otherwise(tmp_path, gap, expected):
    rows = read_manifest(manifest_of(tmp_path, "AB", count=400))
    random = np.random.default_rng(0)
    features = random.normal(0, 1, (len(rows), 1)) + gap * np.asarray([[row.source == "B"] for row in rows])

    figures = left_out_source.predict_source(features, rows)

    assert figures["n"] == 400
    assert figures["chance"] == 0.5
    assert figures["balanced_accuracy"] == pytest.approx(expected, abs=0.08)


def test_one_source_alone_cannot_be_left_out(tmp_path):
    with pytest.raises(ValueError, match="two sources"):
        left_out_source.leave_one_source_out(inputs_of(manifest_of(tmp_path, "A"), "A"))


def test_command_refuses_one_source_with_a_sentence(tmp_path, capsys):
    manifest = labelled_set(tmp_path, count=8)
    config = str(REPOSITORY / "ml" / "configs" / "classifier_vessel_map_probe.toml")
    arguments = ["--manifest", str(manifest), "--root", str(tmp_path), "--out", str(tmp_path / "out")]

    status = main(["leave-one-source-out", "--config", config, *arguments, "--weights", str(tmp_path)])

    assert status == 2
    assert "two sources" in capsys.readouterr().err
