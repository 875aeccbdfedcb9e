import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ml.__main__ import main
from ml.bundle import load_bundle
from ml.classification import backbones, finetune, publish, train
from ml.classification import config as configs
from ml.classification.data import CLASSES, read_manifest
from ml.classification.predict import DiseaseClassifier, check_network
from ml.classification.statements import StatementRule
from ml.classification.training_data import load_training_data, training_probabilities
from ml.evaluation.classification import macro_area
from ml.imaging.enhance import Equalisation, equalise_crop
from ml.imaging.fov import find_fov
from ml.imaging.io import read_photograph
from tests.ml.classification.networks import SIDE, disc, tiny_config
from tests.support import REPOSITORY


def run(config, photographs, out, **options):
    return train.train(
        config, manifest=photographs, root=photographs.parent, out=out, weights_dir=photographs.parent, **options
    )


@pytest.fixture(scope="module")
def finished(photographs, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return out, run(tiny_config(), photographs, out)


def test_published_weights_are_the_trained_ones_and_reproduce_their_metric(finished, photographs, tmp_path):
    import keras

    from ml.classification import backbones

    out, metrics = finished
    keras.utils.set_random_seed(5)
    untrained = backbones.build_network("cnn", side=SIDE, class_count=4).get_weights()

    bundle = publish.publish_run(out, tmp_path / "fundus_disease_classification", version="0.0.1")
    check_network(bundle)
    classifier = DiseaseClassifier(bundle)
    rows = [row for row in read_manifest(photographs) if row.fold == 1]
    pixels = [read_photograph((photographs.parent / row.file).read_bytes()).pixels for row in rows]
    results = [classifier.classify(picture, find_fov(picture)) for picture in pixels]
    probabilities = np.asarray([list(result.probabilities.values()) for result in results])
    labels = np.asarray([CLASSES.index(row.label) for row in rows])

    assert macro_area(labels, probabilities) == pytest.approx(bundle.manifest["metrics"]["macro_auc"], abs=1e-4)
    with (out / "predictions_test.csv").open() as stream:
        stored = [[float(row[name]) for name in CLASSES] for row in csv.DictReader(stream)]
    assert probabilities == pytest.approx(np.asarray(stored), abs=1e-4)
    trained = classifier._forward.get_weights()
    assert any(not np.allclose(one, other) for one, other in zip(trained, untrained, strict=True))
    assert metrics["test"]["n"] == len(rows)


def test_bundle_holds_everything_that_is_needed_to_use_it(finished, tmp_path):
    bundle = publish.publish_run(finished[0], tmp_path / "fundus_disease_classification", version="1.2.3")

    assert bundle.version == "1.2.3"
    assert bundle.manifest["output"]["classes"] == list(CLASSES)
    assert bundle.manifest["output"]["temperature"] > 0
    assert StatementRule.from_manifest(bundle.manifest).conditions == CLASSES[:-1]
    assert set(bundle.manifest["files"]) == {"model.weights.h5", "held_out_predictions.csv"}
    assert load_bundle(bundle.directory) == bundle


def test_bundle_of_the_vessel_path_names_the_image_weights_it_was_fitted_with(finished, tmp_path):
    out = finished[0]
    image = publish.publish_run(out, tmp_path / "fundus_disease_classification", version="0.0.1")

    vessel = publish.publish_run(out, tmp_path / "vessel_map_classification", version="0.0.1", image_run=out)

    fusion = vessel.manifest["fusion"]
    assert fusion["image_bundle_sha256"] == image.sha256
    assert fusion["image_weight"] >= 0
    assert fusion["metrics"]["agreement_share"] == 1.0


def test_run_folder_says_what_was_run(finished):
    config = json.loads((finished[0] / "config.json").read_text())

    assert config["seed"] == 5
    assert config["augmentation"]["rotation_degrees"] > 0
    assert len(json.loads((finished[0] / "history.json").read_text())) == 1


def test_only_training_pictures_are_augmented(photographs, tmp_path, monkeypatch):
    seen = []

    def remember(crop, rng, settings):
        seen.append(crop.tobytes())
        return crop

    monkeypatch.setattr(finetune, "augment", remember)
    data = load_training_data(tiny_config(), manifest=photographs, root=photographs.parent, cache=None)
    run(tiny_config(), photographs, tmp_path)

    held_back = {data.crops[index].tobytes() for index in (*data.split.validation, *data.split.test)}
    # The reader may run ahead of the training by a few batches.
    assert len(seen) >= 2 * 8
    assert not held_back & set(seen)


def test_interrupted_training_continues_as_if_it_had_not_stopped(photographs, tmp_path):
    config = tiny_config(epochs=2, linear_head=False)

    def stop(line):
        if "epoch 1" in line:
            raise KeyboardInterrupt

    whole = run(config, photographs, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(config, photographs, tmp_path / "parts", progress=stop)
    parts = run(config, photographs, tmp_path / "parts", resume=True)

    histories = [json.loads((tmp_path / name / "history.json").read_text()) for name in ("whole", "parts")]
    assert histories[1][1]["loss"] == pytest.approx(histories[0][1]["loss"], rel=1e-3)
    assert parts["temperature"] == pytest.approx(whole["temperature"], rel=0.02)


def test_source_that_brings_grades_only_teaches_but_neither_chooses_nor_measures(photographs, tmp_path):
    with photographs.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row["original_label"] = "grade Severe" if row["class"] == "DiabeticRetinopathy" else "normal fundus"
        if row["class"] == "DiabeticRetinopathy" and int(row["file"].partition(".")[0]) % 3 == 0:
            row["source_dataset"] = "Grades"
    manifest = photographs.parent / "graded.csv"
    with manifest.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    config = tiny_config(linear_head=False)
    config = replace(
        config,
        data=replace(config.data, source_share={"ODIR-5K": 0.5, "Grades": 0.5}),
        grading=configs.GradingConfig(weight=1.0, grade_only_sources=("Grades",)),
    )

    metrics = run(config, manifest, tmp_path)

    data = load_training_data(config, manifest=manifest, root=manifest.parent, cache=None)
    sources = {name: {row.source for row in data.rows(getattr(data.split, name))} for name in ("training", "test")}
    assert sources == {"training": {"ODIR-5K", "Grades"}, "test": {"ODIR-5K"}}
    assert set(metrics["test"]["per_source"]) == {"ODIR-5K"}
    # The grades' head is left behind: the saved weights fit the network that serves.
    publish.publish_run(tmp_path, tmp_path / "fundus_disease_classification", version="0.0.1")


def test_equalised_and_generated_photographs_reach_the_training(photographs, tmp_path):
    folder = tmp_path / "generated"
    (folder / "Glaucoma").mkdir(parents=True)
    Image.fromarray(disc(80, 80, seed=99)).save(folder / "Glaucoma" / "0.png")
    (folder / "manifest.csv").write_text(
        "file,class,source_dataset,label_quality,split_group,fold5\nGlaucoma/0.png,Glaucoma,generated,synthetic,g0,\n"
    )
    (folder / "generator.json").write_text(json.dumps({"training_groups": []}))
    config = tiny_config()
    config = replace(
        config,
        network=replace(config.network, equalisation="global"),
        data=replace(config.data, source_share={"ODIR-5K": 0.9, "generated": 0.1}),
    )
    where = {"manifest": photographs, "root": photographs.parent, "cache": tmp_path / "cache"}

    data = load_training_data(config, **where, generated=[folder])

    plain = load_training_data(tiny_config(), **where)
    assert [data.photographs[index].source for index in data.split.training][-1] == "generated"
    assert len(data.crops) == len(plain.crops) + 1
    expected = equalise_crop(plain.crops[0], method=Equalisation.GLOBAL)
    assert (data.crops[0] == expected).all()
    assert (data.crops[0] != plain.crops[0]).any()
    probabilities = training_probabilities(data, config)
    assert probabilities[-1] == pytest.approx(0.1)


def test_one_command_trains_the_first_stage_too_and_only_once(photographs, tmp_path):
    stage = """
    name = "{name}"
    kind = "photograph"
    seed = 3
    {more}
    [network]
    architecture = "cnn"
    side = 64
    [data]
    test_folds = [1]
    validation_folds = [2]
    source_share = {{ "ODIR-5K" = 1.0 }}
    class_share = {{ DiabeticRetinopathy = 0.25, Glaucoma = 0.25, Myopia = 0.25, Normal = 0.25 }}
    quality_weight = {{}}
    [fit]
    epochs = 1
    steps_per_epoch = 2
    batch_size = 4
    learning_rate = {rate}
    linear_head = false
    """
    (tmp_path / "one.toml").write_text(stage.format(name="one", more="", rate=1e-3))
    (tmp_path / "two.toml").write_text(stage.format(name="two", more='begins_from = ["one.toml"]', rate=1e-9))
    arguments = ["--manifest", str(photographs), "--root", str(photographs.parent), "--out", str(tmp_path / "run")]

    for _ in range(2):
        assert main(["train-classifier", "--config", str(tmp_path / "two.toml"), *arguments]) == 0

    earlier = tmp_path / "run" / "first_stage" / "one"
    first, second = (json.loads((folder / "config.json").read_text()) for folder in (earlier, tmp_path / "run"))
    assert (first["name"], second["name"]) == ("one", "two")
    history = earlier / "history.json"
    assert history.stat().st_mtime < (tmp_path / "run" / "config.json").stat().st_mtime
    # The second stage hardly moves, so it scores what the first one did: it began from those weights.
    scores = [json.loads(path.read_text())[-1]["validation_loss"] for path in (history, tmp_path / "run/history.json")]
    assert scores[1] == pytest.approx(scores[0], rel=1e-3)


def test_joined_backbones_begin_from_one_run_each(photographs, tmp_path):
    single = tiny_config(epochs=0, linear_head=False)
    weights = []
    for name in ("mobilenet_v1", "mobilenet_v2"):
        network = backbones.build_network(name, side=SIDE, class_count=4)
        weights.append(tmp_path / f"{name}.weights.h5")
        network.save_weights(weights[-1])
    config = replace(single, network=configs.NetworkConfig(architecture="mobilenet_v1+mobilenet_v2", side=SIDE))

    metrics = run(config, photographs, tmp_path / "run", initial=weights)
    with pytest.raises(ValueError, match="begins from 2 weights files, not 1"):
        run(config, photographs, tmp_path / "refused", initial=weights[:1])

    bundle = publish.publish_run(tmp_path / "run", tmp_path / "bundle", version="0.0.1")
    check_network(bundle)
    assert bundle.manifest["architecture"] == "mobilenet_v1+mobilenet_v2"
    assert metrics["test"]["n"] > 0


def test_kernels_are_kept_in_half_precision_and_vectors_are_not(tmp_path):
    network = backbones.build_network("cnn", side=SIDE, class_count=4)
    network.save_weights(tmp_path / "network.weights.h5")
    full = (tmp_path / "network.weights.h5").stat().st_size
    before = network.get_weights()

    train.keep_kernels_in_half_precision(tmp_path / "network.weights.h5")

    network.load_weights(tmp_path / "network.weights.h5")
    for old, new in zip(before, network.get_weights(), strict=True):
        expected = old.astype(np.float16).astype(np.float32) if old.ndim > 1 else old
        assert (new == expected).all()
    assert (tmp_path / "network.weights.h5").stat().st_size < 0.6 * full


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "ml" / "configs").glob("classifier_*.toml")), ids=lambda p: p.stem
)
def test_shipped_experiments_can_be_read(path):
    config = configs.read_config(path)

    assert sum(config.data.class_share.values()) == pytest.approx(1)
    assert sum(config.data.source_share.values()) == pytest.approx(1)
    assert not set(config.data.test_folds) & set(config.data.validation_folds)
    assert config.kind in {"photograph", "vessel_map"}


def test_overrides_replace_only_what_is_given():
    config = tiny_config()

    assert configs.with_overrides(config, seed=None, threads=None) == config
    assert configs.with_overrides(config, seed=9, threads=1) == replace(config, seed=9, threads=1)
