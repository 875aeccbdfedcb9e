import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.__main__ import main
from ml.bundle import load_bundle
from ml.contracts import FieldOfView
from ml.errors import BundleError
from ml.imaging.fov import bounding_box, find_fov
from ml.segmentation.augmentation import Augmentation, random_crop
from ml.segmentation.config import SegmenterConfig, build, read_config, to_plain
from ml.segmentation.datasets import list_samples
from ml.segmentation.photographs import CropStream, load_photograph, trace_centrelines
from ml.segmentation.predict import InferenceSettings, VesselSegmenter, check_network, vessel_probability
from ml.segmentation.publish import publish
from ml.segmentation.train import learning_rate_share, photograph_weights, train, update_average
from ml.segmentation.unet import Architecture, VesselNetwork
from tests.ml.segmentation.vessel_sets import draw_photograph, write_manifest, write_set
from tests.support import REPOSITORY

CONFIGS = sorted((REPOSITORY / "ml" / "configs").glob("segmenter_*.toml"))
AT_96 = InferenceSettings(min_diameter=96, max_diameter=96)
TINY = """
seed = 3
[architecture]
channels = [4, 8]
[data]
levels = [1.5]
[data.held_out]
SET = ["02"]
[augmentation]
crop = 32
[loss]
centreline = 0.1
[schedule]
steps = 2
batch = 2
validate_every = 1
workers = 0
mixed_precision = false
[inference]
min_diameter = 64
max_diameter = 64
"""


@pytest.fixture
def tiny_set(tmp_path: Path) -> Path:
    return write_set(tmp_path / "SET", count=3, side=96)


@pytest.fixture
def tiny_config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def test_command_trains_and_publishes_a_bundle_that_loads(tmp_path, tiny_set, tiny_config):
    arguments = ["train-segmenter", "--config", str(tiny_config), "--data", str(tiny_set)]
    arguments += ["--out", str(tmp_path / "run"), "--publish", str(tmp_path / "bundle")]

    status = main([*arguments, "--json", str(tmp_path / "result.json")])

    assert status == 0
    bundle = load_bundle(tmp_path / "bundle")
    check_network(bundle)
    pixels, _, _ = draw_photograph(96, seed=9)
    probability = VesselSegmenter(bundle).probability(pixels, find_fov(pixels))
    assert probability.shape == (96, 96)
    assert probability.dtype == np.float32
    assert 0.0 <= probability.min() <= probability.max() <= 1.0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["training_photographs"] == {"SET": 2}
    assert result["held_out_photographs"] == {"SET": 1}
    assert result["bundle"] == bundle.sha256
    with (tmp_path / "run" / "curves.csv").open() as stream:
        assert [row["step"] for row in csv.DictReader(stream)] == ["1", "2"]


def test_same_seed_trains_the_same_weights(tmp_path, tiny_set, tiny_config):
    config = read_config(tiny_config)

    for name in ("first", "second"):
        train(config, data=[tiny_set], out=tmp_path / name)
    train(replace(config, seed=4), data=[tiny_set], out=tmp_path / "other")

    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("first", "second", "other")]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_resumed_run_continues_where_it_stopped(tmp_path, tiny_set, tiny_config):
    config = read_config(tiny_config)
    train(replace(config, schedule=replace(config.schedule, steps=1)), data=[tiny_set], out=tmp_path / "run")

    metrics = train(config, data=[tiny_set], out=tmp_path / "run", resume=True)

    assert metrics["steps"] == 2
    with (tmp_path / "run" / "curves.csv").open() as stream:
        assert [row["step"] for row in csv.DictReader(stream)] == ["1", "2"]


def test_finished_run_is_validated_again_with_changed_inference(tmp_path, tiny_set, tiny_config):
    config = read_config(tiny_config)
    first = train(config, data=[tiny_set], out=tmp_path / "run")
    weights = (tmp_path / "run" / "weights.safetensors").read_bytes()

    changed = replace(config, inference=replace(config.inference, max_diameter=96, flips=4))
    second = train(changed, data=[tiny_set], out=tmp_path / "run", resume=True)

    assert second["steps"] == first["steps"]
    assert second["validation_auc"] != first["validation_auc"]
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == weights


def test_time_limit_ends_a_run_early(tmp_path, tiny_set, tiny_config):
    config = read_config(tiny_config)
    limited = replace(
        config, schedule=replace(config.schedule, steps=100_000, max_minutes=1 / 60, validate_every=10**6)
    )

    metrics = train(limited, data=[tiny_set], out=tmp_path / "run")

    assert 0 < metrics["steps"] < 100_000


def test_test_photographs_are_never_trained_on(tmp_path, tiny_set, tiny_config):
    write_manifest(tiny_set, {"00": "test", "01": "train", "02": "train"})

    metrics = train(read_config(tiny_config), data=[tiny_set], out=tmp_path / "run")

    assert metrics["training_photographs"] == {"SET": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed = 3", "Unknown keys in the configuration: speed"),
        ("[schedule]\nstep = 3", r"Unknown keys in the configuration \[schedule\]: step"),
        ("loss = 3", "loss must be a table"),
    ],
)
def test_misspelt_configuration_is_refused(tmp_path, text, message):
    (tmp_path / "bad.toml").write_text(text)

    with pytest.raises(ValueError, match=message):
        read_config(tmp_path / "bad.toml")


def test_command_reports_unusable_data(tmp_path, tiny_config, capsys):
    status = main(["train-segmenter", "--config", str(tiny_config), "--data", str(tmp_path), "--out", str(tmp_path)])

    assert status == 2
    assert "No images/ folder" in capsys.readouterr().err


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configuration_reads_and_survives_a_round_trip(path):
    config = read_config(path)

    assert build(SegmenterConfig, to_plain(config), where="") == config
    assert config.data.split == "train"


def test_set_weight_is_shared_among_its_photographs(tmp_path):
    samples = list_samples(write_set(tmp_path / "A", count=2)) + list_samples(write_set(tmp_path / "B", count=4))

    assert photograph_weights(samples, {"A": 3.0}) == [1.5, 1.5, 0.25, 0.25, 0.25, 0.25]


@pytest.mark.parametrize(("progress", "share"), [(0.05, 0.5), (0.1, 1.0), (0.55, 0.5), (1.0, 0.0), (1.2, 0.0)])
def test_learning_rate_rises_then_falls(progress, share):
    assert learning_rate_share(progress, warmup=0.1) == pytest.approx(share)


def test_average_moves_by_one_minus_decay():
    average, network = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    average.weight.data.fill_(1.0)
    network.weight.data.fill_(3.0)

    update_average(average, network, decay=0.75)

    assert average.weight.item() == pytest.approx(0.75 * 1 + 0.25 * 3)


def test_crop_keeps_labels_on_their_vessels(tiny_set):
    random = np.random.default_rng(0)
    photograph = load_photograph(
        list_samples(tiny_set)[0], inference=AT_96, levels=(1.0,), with_centreline=True, random=random
    )
    plain = Augmentation(
        crop=64, min_scale=0.8, max_scale=1.2, gamma=0, mixing=0, shading=0,
        blur_share=0, noise_share=0, jpeg_share=0, grey_share=0,
    )  # fmt: skip

    crops = torch.stack([random_crop(photograph, plain, random) for _ in range(20)])

    green, label, mask, line = crops[:, 1], crops[:, 3], crops[:, 4], crops[:, 5]
    inside = mask > 0
    assert green[inside & (label > 0.9)].mean() < green[inside & (label < 0.1)].mean() - 1.0
    assert label[line > 0].mean() > 0.7
    assert not crops[:, :3][:, :, :, :][(~inside)[:, None].expand(-1, 3, -1, -1)].any()


def test_crop_stream_repeats_for_a_seed_and_differs_after_a_resume(tiny_set):
    photograph = load_photograph(
        list_samples(tiny_set)[0],
        inference=AT_96,
        levels=(1.0,),
        with_centreline=False,
        random=np.random.default_rng(0),
    )

    def first(seed: int, start: int) -> torch.Tensor:
        settings = Augmentation(crop=32)
        return next(iter(CropStream([photograph], [1.0], settings=settings, seed=seed, start=start)))

    assert torch.equal(first(1, 0), first(1, 0))
    assert not torch.equal(first(1, 0), first(1, 500))
    assert not torch.equal(first(1, 0), first(2, 0))


def test_centrelines_stay_on_the_vessels():
    vessels = np.zeros((30, 30), dtype=bool)
    vessels[10:19, 3:27] = True

    lines = trace_centrelines(vessels)

    assert lines.any()
    assert not lines[~vessels].any()
    assert lines.sum() < vessels.sum() / 2


def test_publishing_an_impossible_network_is_noticed(tmp_path, tiny_set, tiny_config):
    config = read_config(tiny_config)
    train(config, data=[tiny_set], out=tmp_path / "run")
    wider = replace(config, architecture=Architecture(channels=(8, 16)))

    bundle = publish(tmp_path / "run", wider, directory=tmp_path / "bundle")

    with pytest.raises(BundleError, match="do not fit the declared architecture"):
        check_network(bundle)


@pytest.mark.parametrize(("native", "working"), [(256, 512), (360, 720), (540, 720), (1200, 840), (3300, 1120)])
def test_working_diameter_is_a_bounded_share_of_the_photographs_own(native, working):
    mask = np.ones((10, native), dtype=bool)
    fov = FieldOfView(mask=mask, box=bounding_box(mask))

    settings = InferenceSettings(native_share=0.7, min_diameter=720, max_diameter=1120)

    assert settings.diameter_for(fov) == working


# One more on the logit for each doubling from 1,000 pixels: the odds of 1 become e to that power.
@pytest.mark.parametrize(
    ("native", "doublings"), [(1000, 0.0), (500, -1.0), (100, -1.0), (1700, 0.7655), (3300, 0.7655)]
)
def test_size_bias_moves_the_logits_within_the_sizes_trained_on(native, doublings):
    mask = np.ones((10, native), dtype=bool)
    fov = FieldOfView(mask=mask, box=bounding_box(mask))

    assert np.log(InferenceSettings(size_bias=1.0).odds_for(fov)) == pytest.approx(doublings, abs=1e-3)
    assert InferenceSettings().odds_for(fov) == 1.0


def test_size_bias_keeps_the_order_of_pixels_and_the_field_of_view():
    pixels, _, inside = draw_photograph(96, seed=0)
    fov = FieldOfView(mask=inside, box=bounding_box(inside))
    torch.manual_seed(0)
    network = VesselNetwork(Architecture(channels=(4, 8))).eval()

    plain, biased = (
        vessel_probability(network, pixels, fov, settings=replace(AT_96, size_bias=bias)) for bias in (0.0, 1.0)
    )

    # 96 pixels count as 500, one doubling below the reference: the odds shrink by e.
    odds = plain / (1 - plain) / np.e
    assert biased[inside] == pytest.approx((odds / (1 + odds))[inside], abs=1e-3)
    assert (biased[~inside] == 0).all()


@pytest.mark.parametrize(
    "values",
    [{"flips": 3}, {"precision": "float16"}, {"min_diameter": 2000}, {"native_share": 0.0}, {"max_enlargement": 0.5}],
)
def test_unknown_inference_settings_are_refused(values):
    with pytest.raises(ValueError, match="must"):
        InferenceSettings(**values)
