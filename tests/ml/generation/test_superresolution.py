import json
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ml.__main__ import main
from ml.classification.data import read_manifest
from ml.contracts import Box, FieldOfView
from ml.errors import BundleError
from ml.generation import superresolution
from ml.generation import superresolution_training as training
from tests import corpus
from tests.ml.classification.networks import disc
from tests.ml.generation.sets import SOURCE, labelled_set
from tests.support import REPOSITORY

TINY = training.SuperResolutionConfig(
    name="tiny",
    seed=3,
    sources=(SOURCE,),
    test_folds=(1,),
    width=4,
    blocks=1,
    patch=16,
    steps=40,
    batch_size=4,
    learning_rate=1e-2,
    checkpoint_every=10,
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return labelled_set(tmp_path_factory.mktemp("photographs"))


@pytest.fixture(scope="module")
def finished(manifest, tmp_path_factory):
    """Train once; return the run folder and its metrics."""
    out = tmp_path_factory.mktemp("run")
    return out, training.train(TINY, manifest=manifest, root=manifest.parent, out=out)


def weights_of(run):
    import keras

    return keras.models.load_model(run / superresolution.MODEL_FILE, compile=False).get_weights()


def test_untrained_network_enlarges_as_bicubic_interpolation():
    enlarger = superresolution.Enlarger(superresolution.build_network(width=4, blocks=1))
    pixels = disc(70, 51)

    assert (enlarger.enlarge(pixels) == superresolution.enlarge_bicubically(pixels)).all()


def test_loss_falls(finished):
    run, _ = finished

    history = json.loads((run / training.HISTORY_FILE).read_text())

    assert [entry["step"] for entry in history] == [10, 20, 30, 40]
    assert history[-1]["loss"] < 0.95 * history[0]["loss"]


def test_run_folder_and_metrics_are_complete(finished):
    run, metrics = finished

    assert metrics == json.loads((run / training.METRICS_FILE).read_text())
    assert (metrics["n"], metrics["patient_groups"], metrics["training_photographs"]) == (8, 4, 24)
    for name in ("psnr", "ssim"):
        network, bicubic, gain = (metrics[name][part] for part in ("network", "bicubic", "gain"))
        assert gain["mean"] == pytest.approx(network["mean"] - bicubic["mean"], abs=2e-4)
        assert gain["ci95"][0] <= gain["mean"] <= gain["ci95"][1]
    assert Image.open(run / training.SAMPLES_FILE).size == (4 * training.PANEL_SIDE, 4 * training.PANEL_SIDE)


def test_resumed_run_ends_as_one_that_was_not_interrupted(finished, manifest, tmp_path, monkeypatch):
    run, _ = finished
    intact = training.patches

    def interrupted(pictures, config, step):
        if step == 25:
            raise KeyboardInterrupt
        return intact(pictures, config, step)

    monkeypatch.setattr(training, "patches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        training.train(TINY, manifest=manifest, root=manifest.parent, out=tmp_path)
    monkeypatch.setattr(training, "patches", intact)
    training.train(TINY, manifest=manifest, root=manifest.parent, out=tmp_path, resume=True)

    for resumed, whole in zip(weights_of(tmp_path), weights_of(run), strict=True):
        np.testing.assert_allclose(resumed, whole, atol=1e-6)
    assert len(json.loads((tmp_path / training.HISTORY_FILE).read_text())) == 4


def test_no_patient_is_learnt_from_and_measured_on(manifest):
    learnt, measured = training.choose_photographs(read_manifest(manifest), TINY)

    assert {row.fold for row in measured} == {1}
    assert not {row.group for row in learnt} & {row.group for row in measured}


def test_empty_part_of_the_split_is_refused(manifest):
    with pytest.raises(ValueError, match="none to measure on"):
        training.choose_photographs(read_manifest(manifest), replace(TINY, test_folds=(7,)))


def test_same_step_gives_the_same_patches_and_another_does_not():
    pictures = [disc(60, 60)]
    first, again, other = (training.patches(pictures, TINY, step) for step in (5, 5, 6))

    assert first[0].shape == (4, 8, 8, 3)
    assert first[1].shape == (4, 16, 16, 3)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (first[0] != other[0]).any()


def test_tiles_do_not_show(finished, monkeypatch):
    enlarger = superresolution.Enlarger.load(finished[0])
    pixels = np.asarray(corpus.fundus(150))[:, :131]

    whole = enlarger.enlarge(pixels)
    monkeypatch.setattr(superresolution, "TILE", 64)
    by_tile = enlarger.enlarge(pixels)

    assert by_tile.shape == (300, 262, 3)
    inner = slice(60, -60)
    assert np.abs(whole.astype(int) - by_tile)[inner, inner].max() <= 1


def test_field_of_view_grows_and_shrinks_with_the_photograph():
    mask = np.zeros((8, 9), dtype=bool)
    mask[2:6, 4:8] = True
    fov = FieldOfView(mask=mask, box=Box(top=2, left=4, bottom=6, right=8))

    large, small = superresolution.enlarge_fov(fov), superresolution.halve_fov(fov)

    assert (large.mask.shape, large.mask.sum()) == ((16, 18), 64)
    assert large.box == Box(top=4, left=8, bottom=12, right=16)
    assert (small.mask.shape, small.mask.sum()) == ((4, 4), 4)
    assert small.box == Box(top=1, left=2, bottom=3, right=4)


def test_similarity_of_a_shift_by_one_level_by_hand():
    original = np.asarray(corpus.fundus(64))
    mask = np.zeros((64, 64), dtype=bool)
    mask[16:48, 16:48] = True
    brighter = np.where(mask[..., None], np.clip(original, 0, 254) + 1, 255 - original).astype(np.uint8)

    psnr, ssim = training.similarity(brighter, np.clip(original, 0, 254), mask)

    assert psnr == pytest.approx(20 * math.log10(255))
    assert 0 < ssim < 1
    assert training.similarity(original, original, mask) == (100.0, pytest.approx(1.0))


def test_shipped_configuration_can_be_read():
    config = training.read_config(REPOSITORY / "ml" / "configs" / "superresolution.toml")

    assert config.test_folds == (1,)


def test_patch_that_cannot_be_halved_twice_is_refused(tmp_path):
    (tmp_path / "c.toml").write_text('name = "x"\nseed = 1\npatch = 30\n')

    with pytest.raises(ValueError, match="multiple of 4"):
        training.read_config(tmp_path / "c.toml")


def test_commands_train_and_enlarge(manifest, tmp_path):
    (tmp_path / "c.toml").write_text(
        f'name = "x"\nseed = 1\nsources = ["{SOURCE}"]\ntest_folds = [1]\nwidth = 4\nblocks = 0\npatch = 16\n'
        "batch_size = 2\ntest_photographs = 2\ntraining_photographs = 2\n"
    )
    corpus.fundus(90).save(tmp_path / "a.png")
    run, out = tmp_path / "run", tmp_path / "out"

    words = ["train-superresolution", "--config", str(tmp_path / "c.toml"), "--manifest", str(manifest)]
    trained = main([*words, "--root", str(manifest.parent), "--out", str(run), "--steps", "2"])
    enlarged = main(["superresolve", str(tmp_path / "a.png"), "--model", str(run), "--out", str(out)])

    assert (trained, enlarged) == (0, 0)
    assert json.loads((run / training.METRICS_FILE).read_text())["n"] == 2
    assert Image.open(out / "a.png").size == (180, 180)


def test_folder_without_a_network_is_refused(tmp_path):
    with pytest.raises(BundleError):
        superresolution.Enlarger.load(tmp_path)
