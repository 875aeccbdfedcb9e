import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ml.classification import config as configs
from ml.classification.data import CLASSES
from ml.generation import oversampling, probe, superresolution
from ml.generation.bootstrap import group_interval, mean_with_interval
from ml.generation.probe import Variant
from tests.ml.classification.networks import SIDE
from tests.ml.generation.sets import SOURCE, discs, labelled_set


@pytest.fixture
def inputs(tmp_path):
    (tmp_path / "photographs").mkdir()
    manifest = labelled_set(tmp_path / "photographs", count=40)
    config = configs.TrainingConfig(
        name="tiny",
        kind="photograph",
        seed=1,
        network=configs.NetworkConfig(architecture="cnn", side=SIDE),
        data=configs.DataConfig(
            source_share={SOURCE: 1.0},
            class_share=dict.fromkeys(CLASSES, 0.25),
            quality_weight={},
            test_folds=(1,),
            validation_folds=(2,),
        ),
        fit=configs.FitConfig(epochs=0),
    )
    return probe.ProbeInputs(
        config=config,
        manifest=manifest,
        root=manifest.parent,
        weights_dir=tmp_path,
        cache=tmp_path / "cache",
        enlarger=superresolution.Enlarger(superresolution.build_network(width=2, blocks=0)),
        generated=(generated_folder(tmp_path / "generated"),),
    )


def generated_folder(folder):
    (folder / "Glaucoma").mkdir(parents=True)
    rows = []
    for index, picture in enumerate(discs(3, first=500)):
        rows.append(f"Glaucoma/{index}.png,Glaucoma,{oversampling.SOURCE},{oversampling.QUALITY},{index},\n")
        Image.fromarray(picture).save(folder / "Glaucoma" / f"{index}.png")
    (folder / "manifest.csv").write_text("".join([",".join(oversampling.COLUMNS) + "\n", *rows]))
    (folder / "generator.json").write_text(json.dumps({"training_groups": []}))
    return folder


def test_each_variant_is_measured_on_the_same_photographs(inputs, monkeypatch):
    wanted = [Variant.CLAHE, Variant.SUPERRESOLUTION, Variant.GENERATED]

    result = probe.compare(inputs, wanted, draws=20)

    assert list(result["variants"]) == ["none", "clahe", "superresolution", "generated"]
    assert result["n"] == {"training": 16, "validation": 8, "test": 16}
    for row in result["variants"].values():
        assert row["gain"] == pytest.approx(row["test"] - result["variants"]["none"]["test"], abs=2e-4)
        assert row["test_ci95"][0] <= row["test_ci95"][1]
        assert set(row["test_auc"]) == set(CLASSES)
    assert result["variants"]["none"]["gain_ci95"] == [0, 0]
    assert len(list(inputs.cache.glob("features-*.npy"))) == 4

    monkeypatch.setattr(probe, "_backbone", None)
    assert probe.compare(inputs, wanted, draws=20) == result


def test_variant_changes_what_the_network_sees(inputs):
    photographs, _ = probe.choose(inputs)
    halved = replace(inputs, halve=True)
    plain, equalised, small, enlarged = (
        probe._preparation(given, variant)(photographs[0])
        for given, variant in (
            (inputs, Variant.NONE),
            (inputs, Variant.GLOBAL),
            (halved, Variant.NONE),
            (halved, Variant.SUPERRESOLUTION),
        )
    )

    assert {crop.shape for crop in (plain, equalised, small, enlarged)} == {(SIDE, SIDE, 3)}
    assert (plain != equalised).any()
    assert (plain != small).any()
    # An untrained network adds nothing, so only the order of two bicubic steps differs.
    assert np.abs(small.astype(int) - enlarged).mean() < 3


def test_most_limits_the_photographs_by_the_seed(inputs):
    chosen = [probe.choose(replace(inputs, most=10))[0] for _ in range(2)]

    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 10


def test_variant_without_its_material_is_refused(inputs):
    with pytest.raises(ValueError, match="trained network"):
        probe.compare(replace(inputs, enlarger=None), [Variant.SUPERRESOLUTION])
    with pytest.raises(ValueError, match="generated photographs"):
        probe.compare(replace(inputs, generated=()), [Variant.GENERATED])


def test_interval_of_a_mean_over_one_patient_is_the_mean():
    assert mean_with_interval(np.asarray([1.0, 2.0]), np.asarray(["a", "a"])) == {"mean": 1.5, "ci95": [1.5, 1.5]}


def test_interval_covers_the_patients_values():
    values, groups = np.asarray([0.0, 1.0, 2.0, 3.0]), np.asarray(["a", "a", "b", "b"])

    low, high = group_interval(lambda chosen: float(values[chosen].mean()), groups)

    assert (low, high) == (0.5, 2.5)


def test_undefined_statistic_has_no_interval():
    assert np.isnan(group_interval(lambda _chosen: float("nan"), np.asarray(["a"]), draws=3)).all()
