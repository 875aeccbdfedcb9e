"""Networks of folds in turn: what is published of a photograph comes from those that never saw its patient."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from ml.__main__ import main
from ml.bundle import load_bundle, write_bundle
from ml.classification import config as configs
from ml.classification import finetune, folds, publish, train
from ml.classification.calibration import softmax
from ml.classification.data import CLASSES, load_pixels, read_manifest
from ml.classification.predict import DiseaseClassifier
from ml.classification.statements import StatementRule
from ml.classification.training_data import load_training_data
from ml.errors import BundleError
from ml.evaluation import predictions
from tests.ml.classification.networks import SIDE, tiny_config

FOLDS = (1, 2, 3, 4)
PARTS = "cnn+cnn/mirrored+cnn+cnn/mirrored"


def joined_config():
    config = tiny_config(epochs=0, linear_head=False)
    return replace(
        config,
        name="joined",
        network=configs.NetworkConfig(architecture=PARTS, side=SIDE, mirror_images=False),
        data=replace(config.data, test_folds=(), validation_folds=(), folds_in_turn=FOLDS),
    )


@pytest.fixture(scope="module")
def trained(photographs, tmp_path_factory):
    """Return the run, its metrics, and which crops each of the four networks was trained on."""
    out = tmp_path_factory.mktemp("folds")
    seen: list[set[bytes]] = []
    augment, fit = finetune.augment, train.fit

    def remember(crop, rng, settings):
        seen[-1].add(crop.tobytes())
        return augment(crop, rng, settings)

    def begin(*args, **options):
        seen.append(set())
        return fit(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetune, "augment", remember)
        patch.setattr(train, "fit", begin)
        metrics = folds.train_in_turn(
            joined_config(),
            [tiny_config(linear_head=False, steps_per_epoch=6, learning_rate=1e-3)],
            manifest=photographs,
            root=photographs.parent,
            out=out,
            weights_dir=photographs.parent,
        )
    return out, metrics, seen


@pytest.fixture(scope="module")
def bundle(trained, tmp_path_factory):
    directory = tmp_path_factory.mktemp("bundles") / "fundus_disease_classification"
    return publish.publish_run(trained[0], directory, version="0.0.1")


@pytest.fixture(scope="module")
def crops(photographs, bundle):
    """Return every photograph's row and its crop."""
    classifier = DiseaseClassifier(bundle)
    rows = read_manifest(photographs)
    return [(row, classifier.crop(*load_pixels(row, photographs.parent)[:2])) for row in rows]


def test_no_network_is_trained_on_the_fold_that_it_speaks_for(trained, photographs):
    data = load_training_data(joined_config(), manifest=photographs, root=photographs.parent, cache=None)

    assert len(trained[2]) == len(FOLDS)
    for fold, seen in zip(FOLDS, trained[2], strict=True):
        own = {data.crops[index].tobytes() for index, row in enumerate(data.photographs) if row.fold == fold}
        assert own
        assert len(seen) > len(own)
        assert not own & seen


def test_published_predictions_are_those_of_the_networks_without_the_fold(trained, bundle, crops):
    keys, scored, _ = predictions.read(bundle.directory / publish.HELD_OUT_FILE)
    stored = dict(zip(keys, scored.probabilities, strict=True))
    whole = DiseaseClassifier(bundle)

    assert len(keys) == len(set(keys)) == len(crops) == trained[1]["test"]["n"]
    differences = []
    for fold in FOLDS:
        alone = DiseaseClassifier(bundle, without_fold=fold)
        for row, crop in crops:
            if row.fold == fold:
                probabilities = list(alone.classify_crops(crop[None])[0].probabilities.values())
                assert probabilities == pytest.approx(list(stored[row.key]), abs=2e-3)
                together = list(whole.classify_crops(crop[None])[0].probabilities.values())
                differences.append(np.abs(np.subtract(together, probabilities)).max())
    assert max(differences) > 1e-2


def test_whole_network_says_the_mean_of_its_parts(bundle, crops):
    batch = np.stack([crop for _, crop in crops[:4]])
    each = []
    for fold in FOLDS:
        logits = [result.logits for result in DiseaseClassifier(bundle, without_fold=fold).classify_crops(batch)]
        # Alone, a part is calibrated without its fold; undo that to compare.
        own = bundle.manifest["out_of_fold"][str(fold)]
        each.append((np.asarray(logits) - own["offsets"]) @ np.linalg.inv(own["mixing"]).T)

    whole = DiseaseClassifier(bundle).classify_crops(batch)

    assert np.asarray([result.logits for result in whole]) == pytest.approx(np.mean(each, axis=0), rel=1e-3, abs=1e-3)
    assert softmax(whole[0].logits) == pytest.approx(list(whole[0].probabilities.values()), abs=1e-6)


def test_no_photograph_helps_to_calibrate_its_own_prediction(photographs, trained, monkeypatch, tmp_path):
    out, config = trained[0], joined_config()
    data = load_training_data(config, manifest=photographs, root=photographs.parent, cache=None)
    fitted = []
    fit = folds.fit_calibration

    def remember(logits, labels, **options):
        fitted.append(len(labels))
        return fit(logits, labels, **options)

    monkeypatch.setattr(folds, "fit_calibration", remember)
    parts = [out / f"tiny_without_fold_{fold}" / finetune.BEST_FILE for fold in FOLDS]

    folds.finish(parts, data, config, out=tmp_path)

    # Folds 1 and 2 have 16 photographs each, 3 and 4 have 8.
    assert fitted == [48, 32, 32, 40, 40]


def test_bundle_says_which_folds_were_held_out_and_reads_one_view(bundle):
    assert bundle.manifest["training"]["folds_in_turn"] == list(FOLDS)
    assert bundle.manifest["inference"]["views"] == ["identity"]
    assert bundle.manifest["statements"]["chosen"] == "out-of-fold predictions"


def test_fold_that_every_network_has_seen_is_refused(bundle):
    with pytest.raises(BundleError, match="without fold 9"):
        DiseaseClassifier(bundle, without_fold=9)


def test_experiment_without_a_part_for_each_fold_is_refused_before_it_is_trained(photographs, tmp_path):
    config = joined_config()
    config = replace(config, data=replace(config.data, folds_in_turn=(1, 2, 3)))
    where = {"manifest": photographs, "root": photographs.parent, "weights_dir": photographs.parent}

    with pytest.raises(ValueError, match="do not make 4 parts"):
        folds.train_in_turn(config, [tiny_config(linear_head=False)], out=tmp_path / "run", **where)

    assert not (tmp_path / "run").exists()


def test_fusion_is_fitted_on_the_photographs_that_validated_the_vessel_path(trained, photographs, bundle, tmp_path):
    vessel = tmp_path / "vessel"
    options = {"manifest": photographs, "root": photographs.parent, "weights_dir": photographs.parent}
    train.train(tiny_config(), out=vessel, **options)

    published = publish.publish_run(
        vessel, tmp_path / "vessel_map_classification", version="0.0.1", image_run=trained[0]
    )

    fusion = published.manifest["fusion"]
    assert fusion["image_bundle_sha256"] == bundle.sha256
    # Fold 2 validates the vessel path, fold 1 is held out from it: 16 photographs each.
    assert fusion["chosen"].startswith("lowest validation loss on 16 ")
    assert fusion["metrics"]["n"] == 16


def test_one_command_trains_resumes_and_measures_out_of_fold(photographs, tmp_path, capsys):
    split = 'source_share = { "ODIR-5K" = 1.0 }\nquality_weight = {}\nclass_share = { ' + ", ".join(
        f"{name} = 0.25" for name in CLASSES
    )
    member = f'[network]\narchitecture = "cnn"\nside = {SIDE}\n[data]\ntest_folds = [1]\n{split} }}\n'
    (tmp_path / "member.toml").write_text(
        f'name = "member"\nkind = "photograph"\nseed = 1\n{member}'
        "[fit]\nepochs = 1\nsteps_per_epoch = 2\nbatch_size = 4\nlinear_head = false\n"
    )
    (tmp_path / "all.toml").write_text(
        f'name = "all"\nkind = "photograph"\nseed = 1\nbegins_from = ["member.toml"]\n'
        f'[network]\narchitecture = "cnn+cnn"\nside = {SIDE}\nmirror_images = false\n'
        f"[data]\nfolds_in_turn = [1, 3]\n{split} }}\n[fit]\nepochs = 0\n"
    )
    where = ["--manifest", str(photographs), "--root", str(photographs.parent)]
    bundle = tmp_path / "bundles" / "fundus_disease_classification"
    words = ["train-classifier", "--config", str(tmp_path / "all.toml"), *where, "--out", str(tmp_path / "run")]
    assert main([*words, "--publish", str(bundle)]) == 0
    weights = tmp_path / "run" / "member_without_fold_3" / "best.weights.h5"
    written = weights.stat().st_mtime_ns

    assert main([*words, "--resume"]) == 0
    assert weights.stat().st_mtime_ns == written

    ask = ["evaluate-classifier", *where, "--bundles", str(bundle.parent), "--draws", "5", "--json", "-"]
    assert main([*words, "--initial", str(weights)]) == 1
    assert "neither --initial nor --generated" in capsys.readouterr().err
    assert main([*ask, "--fold", "1", "--fold", "3", "--out-of-fold"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["n"] == 24
    assert measured["macro_auc"] == pytest.approx(load_bundle(bundle).manifest["metrics"]["macro_auc"], abs=1e-3)
    assert main([*ask, "--fold", "2", "--out-of-fold"]) == 1
    assert "trained without fold 2" in capsys.readouterr().err
    assert main([*ask, "--path", "vessel", "--out-of-fold"]) == 1
    with (tmp_path / "run" / "predictions_test.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 24


def test_command_chooses_the_thresholds_anew_and_leaves_all_else(bundle, photographs, tmp_path, capsys):
    copy = tmp_path / bundle.name
    shutil.copytree(bundle.directory, copy)
    words = ["fit-statements", "--bundle", str(copy), "--bundle-version", "2.0.0"]

    assert main([*words, "--manifest", str(photographs)]) == 0

    changed, before = load_bundle(copy).manifest, bundle.manifest
    assert "no sign" in capsys.readouterr().err
    assert changed["version"] == "2.0.0"
    assert changed["files"]["model.weights.h5"] == before["files"]["model.weights.h5"]
    # The same photographs, so the same thresholds as the training chose, but for the digits that the table keeps.
    now, then = (StatementRule.from_manifest(each).points["balanced"] for each in (changed, before))
    for name in CLASSES[:-1]:
        assert now[name].rule_out == pytest.approx(then[name].rule_out, abs=2e-4)
        assert now[name].rule_in == pytest.approx(then[name].rule_in, abs=2e-4)
    assert (copy / publish.HELD_OUT_FILE).read_bytes() == (bundle.directory / publish.HELD_OUT_FILE).read_bytes()
    untouched = set(before["metrics"]) - {*publish.COVERAGE_KEYS, "per_source"}
    assert {key: changed["metrics"][key] for key in untouched} == {key: before["metrics"][key] for key in untouched}


def test_command_refuses_a_bundle_without_out_of_fold_predictions(bundle, tmp_path, capsys):
    copy = tmp_path / bundle.name
    manifest = {key: value for key, value in bundle.manifest.items() if key != "files"}
    manifest["training"] = {**manifest["training"], "folds_in_turn": []}
    written = write_bundle(copy, manifest, {name: bundle.directory / name for name in bundle.manifest["files"]})

    assert main(["fit-statements", "--bundle", str(copy), "--bundle-version", "2.0.0"]) == 2

    assert "no out-of-fold predictions" in capsys.readouterr().err
    assert load_bundle(copy) == written


def test_command_refuses_a_manifest_without_the_photographs(bundle, photographs, tmp_path, capsys):
    copy = tmp_path / bundle.name
    shutil.copytree(bundle.directory, copy)
    lines = photographs.read_text().splitlines(keepends=True)
    (tmp_path / "short.csv").write_text("".join(lines[:5]))
    words = ["fit-statements", "--bundle", str(copy), "--bundle-version", "2.0.0"]

    assert main([*words, "--manifest", str(tmp_path / "short.csv")]) == 2

    assert "lacks" in capsys.readouterr().err
    assert load_bundle(copy).version == bundle.version
