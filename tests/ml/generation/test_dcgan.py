import csv
import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ml.__main__ import main
from ml.classification.data import read_manifest, split_by_fold
from ml.errors import BundleError, MLError
from ml.generation import dcgan, oversampling
from ml.generation import dcgan_training as training
from ml.generation.copies import CopyCheck, diversity
from tests.ml.generation.sets import SOURCE, discs, labelled_set
from tests.support import REPOSITORY

TINY = training.DcganConfig(
    name="tiny",
    seed=3,
    sources=(SOURCE,),
    test_folds=(1,),
    validation_folds=(2,),
    latent=8,
    width=4,
    steps=6,
    batch_size=4,
    checkpoint_every=3,
    check_pictures=8,
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return labelled_set(tmp_path_factory.mktemp("photographs"), count=32, labels=("Glaucoma", "Normal"))


@pytest.fixture(scope="module")
def finished(manifest, tmp_path_factory):
    """Train once; return the run folder and its metrics."""
    out = tmp_path_factory.mktemp("run")
    return out, training.train(TINY, label="Glaucoma", manifest=manifest, root=manifest.parent, out=out)


@pytest.fixture
def never_a_copy(finished, tmp_path):
    """Return a run folder whose copy check lets every picture pass."""
    run = tmp_path / "lenient"
    run.mkdir()
    for name in (training.GENERATOR_FILE, training.WEIGHTS_FILE):
        (run / name).write_bytes((finished[0] / name).read_bytes())
    with np.load(finished[0] / training.CHECK_FILE) as stored:
        np.savez(run / training.CHECK_FILE, training=stored["training"], threshold=0.0)
    return run


def split_of(rows):
    return split_by_fold(rows, test_folds=(1,), validation_folds=(2,))


def test_networks_have_the_declared_shapes():
    pictures = dcgan.build_generator(latent=8, width=4)(torch.randn(2, 8, 1, 1))

    assert pictures.shape == (2, 3, dcgan.SIDE, dcgan.SIDE)
    assert pictures.abs().max() <= 1
    assert dcgan.build_discriminator(width=4)(pictures).shape == (2,)


def test_pixels_survive_the_way_to_values_and_back():
    crops = discs(2)

    assert (dcgan.to_pixels(dcgan.to_values(crops)) == crops).all()


def test_augmentation_keeps_the_shape_and_lets_gradients_through():
    pictures = dcgan.to_values(discs(3)).requires_grad_()

    changed = dcgan.augment(pictures, torch.Generator().manual_seed(1))
    changed.sum().backward()

    assert changed.shape == pictures.shape
    assert (changed != pictures).any()
    assert pictures.grad.abs().sum() > 0


def test_discriminator_learns_to_tell_photographs_from_pictures():
    run = training._Run(replace(TINY, steps=20, batch_size=8, learning_rate=2e-3, checkpoint_every=10))
    photographs = dcgan.to_values(discs(8))

    losses = [run._train_step(photographs)[0] for run.step in range(20)]

    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_run_folder_and_metrics_are_complete(finished):
    run, metrics = finished

    assert metrics == json.loads((run / training.METRICS_FILE).read_text())
    assert (metrics["class"], metrics["training_photographs"], metrics["held_out_photographs"]) == ("Glaucoma", 8, 8)
    assert metrics["copies"]["n"] == 64
    assert 0 <= metrics["copies"]["flagged"] <= 64
    assert metrics["diversity"]["real"]["pairs"] == 8
    assert Image.open(run / training.SAMPLES_FILE).size == (512, 512)
    assert [entry["step"] for entry in json.loads((run / training.HISTORY_FILE).read_text())] == [3, 6]


def test_resumed_run_ends_as_one_that_was_not_interrupted(finished, manifest, tmp_path, monkeypatch):
    intact = training._Run._train_step

    def interrupted(run, photographs):
        if run.step == 4:
            raise KeyboardInterrupt
        return intact(run, photographs)

    monkeypatch.setattr(training._Run, "_train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        training.train(TINY, label="Glaucoma", manifest=manifest, root=manifest.parent, out=tmp_path)
    monkeypatch.setattr(training._Run, "_train_step", intact)
    resumed = training.train(TINY, label="Glaucoma", manifest=manifest, root=manifest.parent, out=tmp_path, resume=True)

    assert resumed == finished[1]
    name = training.WEIGHTS_FILE
    assert (tmp_path / name).read_bytes() == (finished[0] / name).read_bytes()


def test_held_out_patients_are_not_learnt_from(manifest):
    learnt, kept = training.choose_photographs(read_manifest(manifest), TINY, label="Glaucoma")

    assert {row.fold for row in kept} == {1, 2}
    assert {row.label for row in learnt} == {"Glaucoma"}
    assert not {row.group for row in learnt} & {row.group for row in kept}


def test_same_seed_draws_the_same_pictures_and_another_does_not():
    torch.manual_seed(0)
    generator = dcgan.build_generator(latent=8, width=4)
    # The statistics of batch normalisation begin at 1, which turns small first weights into one flat grey.
    for _ in range(30):
        generator(torch.randn(8, 8, 1, 1))

    first, again, other = (
        np.stack(list(itertools.islice(dcgan.draw(generator, latent=8, seed=seed, batch_size=4), 6)))
        for seed in (1, 1, 2)
    )

    assert (first.shape, first.dtype) == ((6, 64, 64, 3), np.uint8)
    assert (first == again).all()
    assert (first != other).any()


def test_copy_check_flags_a_copy_its_mirror_image_and_a_darker_one_but_no_other_eye():
    photographs = discs(12)
    check = CopyCheck.fit(photographs, discs(6, first=100))
    darker = (photographs[:1] * 0.7).astype(np.uint8)

    assert check.is_copy(photographs[3:4]).all()
    assert check.is_copy(photographs[3:4, :, ::-1]).all()
    assert check.is_copy(darker).all()
    assert not check.is_copy(discs(4, first=200)).any()


def test_copies_are_counted():
    photographs, others = discs(12), discs(6, first=100)
    check = CopyCheck.fit(photographs, others)

    report = check.report(np.concatenate([photographs[:2], discs(3, first=200)]), others)

    assert (report["n"], report["flagged"]) == (5, 2)
    assert report["generated"]["novelty_lowest"] == pytest.approx(0, abs=1e-4)
    assert report["held_out"]["nearest_median"] > 0.1


def test_copy_check_needs_photographs():
    with pytest.raises(ValueError, match="three training photographs"):
        CopyCheck.fit(discs(2), discs(2))


def test_equal_pictures_have_no_diversity():
    equal, different = diversity(np.repeat(discs(1), 8, axis=0), seed=0), diversity(discs(8), seed=0)

    assert equal["distance"]["mean"] == 0
    assert equal["ssim"]["mean"] == pytest.approx(1)
    assert different["distance"]["mean"] > 0.5
    assert different["ssim"]["mean"] < 0.9


def test_oversample_writes_pictures_and_a_manifest_without_folds(never_a_copy, tmp_path):
    words = ["oversample", "--generator", str(never_a_copy), "--class", "Glaucoma", "--count", "3"]
    status = main([*words, "--out", str(tmp_path / "out"), "--json", str(tmp_path / "result.json")])

    assert status == 0
    assert json.loads((tmp_path / "result.json").read_text()) == {"class": "Glaucoma", "n": 3, "copies_left_out": 0}
    with (tmp_path / "out" / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [Image.open(tmp_path / "out" / row["file"]).size for row in rows] == [(64, 64)] * 3
    assert {(row["class"], row["label_quality"], row["fold5"]) for row in rows} == {("Glaucoma", "synthetic", "")}


def test_generated_photographs_train_and_are_in_no_other_part(never_a_copy, manifest, tmp_path):
    oversampling.write_generated(never_a_copy, label="Glaucoma", count=2, out=tmp_path / "out", seed=1)
    rows = read_manifest(manifest)
    before = split_of(rows)

    photographs, split = oversampling.add_generated(rows, before, [tmp_path / "out"])

    assert [photographs[index].source for index in split.training[-2:]] == ["generated", "generated"]
    assert all((tmp_path / row.file).is_file() for row in photographs[-2:])
    assert len(split.training) == len(before.training) + 2
    assert split.validation.tolist() == before.validation.tolist()
    assert split.test.tolist() == before.test.tolist()


def test_generated_rows_cannot_be_split_by_fold(never_a_copy, tmp_path):
    oversampling.write_generated(never_a_copy, label="Glaucoma", count=1, out=tmp_path / "out", seed=1)

    with pytest.raises(ValueError, match="fold5"):
        split_of(read_manifest(tmp_path / "out" / "manifest.csv"))


def test_generator_that_saw_held_out_patients_is_refused(never_a_copy, manifest, tmp_path):
    oversampling.write_generated(never_a_copy, label="Glaucoma", count=1, out=tmp_path / "out", seed=1)
    rows = read_manifest(manifest)
    other_split = split_by_fold(rows, test_folds=(3,), validation_folds=())

    with pytest.raises(ValueError, match="validates or tests on"):
        oversampling.add_generated(rows, other_split, [tmp_path / "out"])


def test_generator_of_copies_is_given_up(never_a_copy, tmp_path):
    with np.load(never_a_copy / training.CHECK_FILE) as stored:
        np.savez(never_a_copy / training.CHECK_FILE, training=stored["training"], threshold=10.0)

    with pytest.raises(MLError, match="copies"):
        oversampling.write_generated(never_a_copy, label="Glaucoma", count=1, out=tmp_path / "out", seed=1)


def test_wrong_class_count_or_folder_is_refused(never_a_copy, tmp_path):
    for label, count in (("Myopia", 1), ("Glaucoma", 0)):
        with pytest.raises(ValueError, match=r"class Glaucoma|At least one"):
            oversampling.write_generated(never_a_copy, label=label, count=count, out=tmp_path / "out", seed=1)
    with pytest.raises(BundleError):
        oversampling.write_generated(tmp_path, label="Glaucoma", count=1, out=tmp_path / "out", seed=1)


def test_command_trains_by_the_shipped_configuration(tmp_path):
    manifest = labelled_set(tmp_path, count=32, labels=("Glaucoma", "Normal"))
    config = REPOSITORY / "ml" / "configs" / "dcgan.toml"
    small = config.read_text().replace("width = 32", "width = 4").replace("batch_size = 16", "batch_size = 2")
    (tmp_path / "c.toml").write_text(small)

    words = ["train-dcgan", "--class", "Glaucoma", "--config", str(tmp_path / "c.toml"), "--manifest", str(manifest)]
    status = main([*words, "--root", str(tmp_path), "--out", str(tmp_path / "run"), "--steps", "1"])

    assert status == 0
    assert json.loads((tmp_path / "run" / training.METRICS_FILE).read_text())["steps"] == 1


def test_class_without_photographs_is_refused(manifest, tmp_path, capsys):
    words = ["train-dcgan", "--class", "Myopia", "--config", str(REPOSITORY / "ml" / "configs" / "dcgan.toml")]
    status = main([*words, "--manifest", str(manifest), "--root", str(manifest.parent), "--out", str(tmp_path)])

    assert status == 2
    assert "three training photographs" in capsys.readouterr().err
