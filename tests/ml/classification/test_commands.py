"""The commands of the classifiers, from the command line to the files and figures they leave."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ml.__main__ import main
from ml.classification.data import CLASSES, load_pixels, read_manifest
from ml.imaging.fov import find_fov
from ml.imaging.io import read_photograph
from tests.ml.classification.networks import disc, tiny_bundle


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Write eight discs and one black picture with the least a manifest may hold; return the root."""
    root = tmp_path_factory.mktemp("photographs")
    rows = [(f"{index}.jpg", CLASSES[index % 4], "X" if index < 6 else "Y") for index in range(8)]
    for index, (file, _, _) in enumerate(rows):
        Image.fromarray(disc(90, 120, seed=index)).save(root / file, quality=95)
    Image.new("RGB", (90, 90)).save(root / "black.jpg")
    with (root / "manifest.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("file", "class", "source_dataset"), *rows, ("black.jpg", "Normal", "X")])
    return root


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bundles")
    tiny_bundle(directory).directory.rename(directory / "fundus_disease_classification")
    return directory


def test_evaluate_classifier_scores_ungradable_photographs_too(photographs, model_dir, tmp_path):
    arguments = ["--manifest", str(photographs / "manifest.csv"), "--root", str(photographs)]
    out = tmp_path / "figures.json"

    status = main(
        [
            "evaluate-classifier",
            *arguments,
            "--bundles",
            str(model_dir),
            "--draws",
            "20",
            "--json",
            str(out),
            "--predictions",
            str(tmp_path / "kept.csv"),
        ]
    )

    figures = json.loads(out.read_text())
    assert status == 0
    assert figures["n"] == 9
    assert figures["ungradable"] >= 1
    assert figures["coverage"] <= 8 / 9
    assert set(figures) >= {"macro_auc", "macro_auc_ci95", "auc", "balanced_accuracy", "ece", "per_source"}
    assert set(figures["auc"]) == set(CLASSES)
    assert {name: row["n"] for name, row in figures["per_source"].items()} == {"X": 7, "Y": 2}
    assert len((tmp_path / "kept.csv").read_text().splitlines()) == 10


def test_evaluate_classifier_can_be_narrowed_to_a_source(photographs, model_dir, tmp_path):
    arguments = ["--manifest", str(photographs / "manifest.csv"), "--root", str(photographs), "--source", "Y"]
    out = tmp_path / "figures.json"

    main(["evaluate-classifier", *arguments, "--bundles", str(model_dir), "--draws", "5", "--json", str(out)])

    assert json.loads(out.read_text())["n"] == 2


def test_empty_selection_is_an_error(photographs, model_dir, capsys):
    arguments = ["--manifest", str(photographs / "manifest.csv"), "--root", str(photographs), "--source", "Z"]

    assert main(["evaluate-classifier", *arguments, "--bundles", str(model_dir)]) == 1
    assert "no photograph" in capsys.readouterr().err


class FakeSegmenter:
    """Calls the red channel vessels."""

    def __init__(self, bundle):
        self.bundle = bundle

    def probability(self, pixels, fov):
        return (pixels[..., 0] / 255 * fov.mask).astype(np.float32)


def test_segment_dataset_writes_maps_that_the_vessel_path_reads_as_the_product_does(photographs, tmp_path, monkeypatch):
    from ml.commands import segment_dataset
    from ml.segmentation import predict

    monkeypatch.setattr(predict, "VesselSegmenter", FakeSegmenter)
    monkeypatch.setattr(segment_dataset, "_segmentation_bundle", lambda directory: SimpleNamespace(version="9"))
    summary = tmp_path / "summary.json"
    arguments = ["--manifest", str(photographs / "manifest.csv"), "--root", str(photographs)]

    status = main(["segment-dataset", *arguments, "--out", str(tmp_path / "maps"), "--json", str(summary)])

    rows = read_manifest(tmp_path / "maps" / "manifest.csv")
    assert status == 0
    assert json.loads(summary.read_text()) == {"n": 8, "refused": ["black.jpg"], "bundle": "9"}
    assert [row.file for row in rows] == [f"{index}.png" for index in range(8)]
    original = read_photograph((photographs / "3.jpg").read_bytes()).pixels
    fov = find_fov(original)
    pixels, read_fov, _ = load_pixels(rows[3], tmp_path / "maps")
    assert read_fov.box == fov.box
    assert (pixels[..., 1] == np.where(fov.mask, original[..., 0], 0)).all()


def test_shortcut_audit_fails_a_model_that_does_not_beat_the_frame(tmp_path):
    rng = np.random.default_rng(0)
    table = tmp_path / "kept.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["key", "group", "source_dataset", "class", "aspect", "black_share"])
        writer.writerow(["k", "g", "ODIR-5K", "A", 1, 0])
    with pytest.raises(ValueError, match="lack the columns"):
        main(["shortcut-audit", "--predictions", str(table)])

    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        measures = ["aspect", "black_share", "mean_red", "mean_green", "mean_blue"]
        writer.writerow(["key", "group", "source_dataset", "class", *measures, "A", "B"])
        for index in range(60):
            share = rng.random()
            noise = rng.random(4).round(3)
            writer.writerow([index, index, "ODIR-5K", "AB"[index % 2], 1 + index % 2, *noise, share, 1 - share])

    assert main(["shortcut-audit", "--predictions", str(table)]) == 1
