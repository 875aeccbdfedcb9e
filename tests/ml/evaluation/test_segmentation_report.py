import json

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics

from ml.__main__ import main
from ml.bundle import VESSEL_SEGMENTATION, load_bundle
from ml.evaluation.segmentation_report import score_image, summarise
from ml.segmentation.datasets import list_samples, read_mask
from ml.segmentation.predict import VesselSegmenter, check_network
from tests.ml.segmentation.vessel_sets import draw_photograph, write_set
from tests.support import REPOSITORY, require_data

SHIPPED = REPOSITORY / "ml" / "bundles" / VESSEL_SEGMENTATION
CONTRACT = {
    "n", "auc", "f1", "mcc", "sensitivity", "specificity", "accuracy", "cldice", "jaccard", "precision",
    "threshold", "seconds_per_image",
}  # fmt: skip


class DarknessSegmenter:
    """Calls dark pixels vessel: good on the drawn photographs, and its answer is known."""

    threshold = 0.5

    def probability(self, pixels, fov):
        probability = 1.0 - pixels[..., 1].astype(np.float32) / 160.0
        return np.where(fov.mask, probability.clip(0, 1), 0).astype(np.float32)


@pytest.fixture
def drawn_set(tmp_path):
    return write_set(tmp_path / "SET", count=3, side=120)


def pooled_by_hand(folder):
    """Return truth and probability of all pixels in all fields of view."""
    truths, probabilities = [], []
    for index in range(3):
        pixels, vessels, inside = draw_photograph(120, seed=index)
        truths.append(vessels[inside])
        probabilities.append((1.0 - pixels[..., 1].astype(np.float32) / 160.0).clip(0, 1)[inside])
    return np.concatenate(truths), np.concatenate(probabilities)


def test_summary_pools_the_pixels_inside_the_fields_of_view(drawn_set):
    images = [score_image(DarknessSegmenter(), sample) for sample in list_samples(drawn_set)]

    result = summarise(images, threshold=0.5, seed=0, resamples=20)

    truth, probability = pooled_by_hand(drawn_set)
    assert set(result) >= CONTRACT
    assert result["n"] == 3
    assert result["auc"] == pytest.approx(metrics.roc_auc_score(truth, probability), abs=1e-5)
    assert result["f1"] == pytest.approx(metrics.f1_score(truth, probability > 0.5))
    assert result["mcc"] == pytest.approx(metrics.matthews_corrcoef(truth, probability > 0.5))


def test_whole_frame_counts_the_black_border_too(drawn_set):
    label = read_mask(drawn_set / "labels1" / "00.png").copy()
    label[0] = True
    Image.fromarray(label).save(drawn_set / "labels1" / "00.png")
    images = [score_image(DarknessSegmenter(), sample) for sample in list_samples(drawn_set)]

    result = summarise(images, threshold=0.5, seed=0, resamples=0)

    assert sum(i.frame_counts.tp + i.frame_counts.fp + i.frame_counts.fn + i.frame_counts.tn for i in images) == (
        3 * 120 * 120
    )
    assert result["whole_frame"]["sensitivity"] < 1.0 == result["sensitivity"]
    assert "second_observer" not in result
    assert result["ci95"] == {}


def test_intervals_hold_the_pooled_figure_and_spread_the_images(drawn_set):
    images = [score_image(DarknessSegmenter(), sample) for sample in list_samples(drawn_set)]

    result = summarise(images, threshold=0.5, seed=0, resamples=200)

    for key in ("auc", "f1", "mcc", "cldice"):
        low, high = result["ci95"][key]
        assert low - 1e-3 <= result[key] <= high + 1e-3
        listed = [row[key] for row in result["per_image"]]
        assert result["spread"][key]["mean"] == pytest.approx(np.mean(listed))
        assert result["spread"][key]["max"] == max(listed)


def test_labels_larger_than_the_photograph_are_scored_at_their_own_size(drawn_set):
    (drawn_set / "labels1_full").mkdir()
    for path in (drawn_set / "labels1").iterdir():
        with Image.open(path) as label:
            label.resize((240, 240)).save(drawn_set / "labels1_full" / path.name)

    image = score_image(DarknessSegmenter(), list_samples(drawn_set)[0])

    inside = read_mask(drawn_set / "fov" / "00.png")
    counts = image.counts
    assert counts.tp + counts.fp + counts.fn + counts.tn == 4 * inside.sum()
    assert counts.scores()["f1"] > 0.8


def test_second_observer_is_scored_against_the_first(drawn_set):
    (drawn_set / "labels2").mkdir()
    truth = read_mask(drawn_set / "labels1" / "01.png")
    half = truth & (np.arange(120) < 60)[:, None]
    Image.fromarray(half).save(drawn_set / "labels2" / "01.png")
    images = [score_image(DarknessSegmenter(), sample) for sample in list_samples(drawn_set)]

    second = summarise(images, threshold=0.5, seed=0, resamples=0)["second_observer"]

    assert second["n"] == 1
    assert second["precision"] == 1.0
    assert second["sensitivity"] == pytest.approx(half.sum() / truth.sum())


def test_panel_shows_five_pictures(drawn_set, tmp_path):
    path = tmp_path / "panels" / "00.png"

    score_image(DarknessSegmenter(), list_samples(drawn_set)[0], panel=path)

    with Image.open(path) as panel:
        assert panel.size == (5 * 480, 480)
        colours = {panel.getpixel((4 * 480 + x, y)) for x in range(120) for y in range(120)}
    assert (255, 255, 255) in colours


def test_command_writes_report_curves_and_panels(drawn_set, tmp_path):
    out = tmp_path / "report"

    status = main(["evaluate-segmenter", "--data", str(drawn_set), "--resamples", "10", "--out", str(out)])

    report = json.loads((out / "report.json").read_text())
    assert status == 0
    assert 0 < report["average_precision"] <= 1
    assert {"whole_frame", "per_image", "spread", "ci95"} <= set(report)
    assert len(list((out / "panels").glob("*.png"))) == report["n"]
    with Image.open(out / "curves.png") as curves:
        assert curves.size == (1320, 440)


def test_summary_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no labelled photograph"):
        summarise([], threshold=0.5, seed=0)


def test_command_prints_the_contract(drawn_set, capsys):
    (drawn_set / "images" / "dark.png").write_bytes(b"")
    Image.new("RGB", (120, 120)).save(drawn_set / "images" / "dark.png")
    Image.new("1", (120, 120)).save(drawn_set / "labels1" / "dark.png")

    status = main(["evaluate-segmenter", "--data", str(drawn_set), "--resamples", "10", "--json", "-"])

    result = json.loads(capsys.readouterr().out)
    assert status == 0
    assert set(result) >= CONTRACT
    assert result["n"] == 3
    assert [row["name"] for row in result["failed"]] == ["dark"]
    assert result["bundle"]["name"] == VESSEL_SEGMENTATION


def test_command_reports_a_folder_without_images(tmp_path, capsys):
    status = main(["evaluate-segmenter", "--data", str(tmp_path), "--json", "-"])

    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert "No images/ folder" in captured.err


def test_shipped_network_is_the_declared_one_and_small():
    bundle = load_bundle(SHIPPED)

    check_network(bundle)

    assert bundle.manifest["architecture"]["parameters"] <= 1_000_000
    assert {"config.toml", "metrics.json"} <= set(bundle.manifest["files"])
    assert bundle.card


def test_shipped_network_gives_the_same_answer_twice():
    pixels, _, inside = draw_photograph(300, seed=1)
    segmenter = VesselSegmenter(load_bundle(SHIPPED))
    fov = list_fov(inside)

    first, second = segmenter.probability(pixels, fov), segmenter.probability(pixels, fov)

    assert np.array_equal(first, second)
    assert first[~inside].max() == 0.0


def list_fov(inside):
    from ml.contracts import FieldOfView
    from ml.imaging.fov import bounding_box

    return FieldOfView(mask=inside, box=bounding_box(inside))


def test_shipped_network_separates_vessels_on_drive():
    samples = list_samples(require_data("vessel/DRIVE"), split="test")[:3]
    segmenter = VesselSegmenter(load_bundle(SHIPPED))

    result = summarise([score_image(segmenter, s) for s in samples], threshold=segmenter.threshold, seed=0, resamples=0)

    assert result["auc"] >= 0.97
    assert result["f1"] >= 0.78
