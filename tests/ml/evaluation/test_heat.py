import csv
import json

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr

from ml import bundle as bundles
from ml.__main__ import main
from ml.classification.predict import DiseaseClassifier
from ml.contracts import Box, FieldOfView
from ml.evaluation.heat import share_outside
from tests.ml.classification.networks import disc, tiny_bundle
from tests.support import REPOSITORY


def left_half(height: int = 448, width: int = 448) -> FieldOfView:
    """A frame whose box is all of it, lit in its left half and in one corner of the right."""
    mask = np.zeros((height, width), dtype=bool)
    mask[:, : width // 2] = True
    mask[-1, -1] = True
    return FieldOfView(mask=mask, box=Box(top=0, left=0, bottom=height, right=width))


@pytest.mark.parametrize(
    ("values", "share"),
    [
        ([[1.0, 0.0], [1.0, 0.0]], 0.0),
        ([[0.0, 1.0], [0.0, 1.0]], 1.0),
        ([[3.0, 1.0], [0.0, 0.0]], 0.25),
        # What speaks against the class is not heat.
        ([[3.0, -9.0], [0.0, 1.0]], 0.25),
    ],
)
def test_share_outside_by_hand(values, share) -> None:
    assert share_outside(np.asarray(values), left_half()) == pytest.approx(share, abs=2e-3)


def test_place_on_the_rim_counts_by_its_part_outside() -> None:
    assert share_outside(np.ones((1, 1)), left_half()) == pytest.approx(0.5, abs=0.01)


def test_map_that_nothing_speaks_for_has_no_share() -> None:
    assert share_outside(np.zeros((4, 4)), left_half()) is None


def test_audit_measures_that_no_heat_is_shown_outside(tmp_path) -> None:
    tiny_bundle(tmp_path).directory.rename(tmp_path / "fundus_disease_classification")
    table = tmp_path / "stored.csv"
    table.write_text("key,group,source_dataset,class,aspect,black_share,mean_red,mean_green,mean_blue,A,B\n")
    with table.open("a", newline="") as stream:
        csv.writer(stream).writerows((i, i, "X", "AB"[i % 2], 1, 0, i, 1, 1, 0.5, 0.5) for i in range(20))
    rows = [(f"{index}.png", ("Normal", "Glaucoma")[index % 2], "X") for index in range(4)]
    for index, (file, _, _) in enumerate(rows):
        Image.fromarray(disc(90, 120, seed=index)).save(tmp_path / file)
    with (tmp_path / "manifest.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("file", "class", "source_dataset"), *rows])
    out = tmp_path / "audit.json"

    words = ["--manifest", str(tmp_path / "manifest.csv"), "--root", str(tmp_path), "--bundles", str(tmp_path)]
    status = main(["shortcut-audit", *words, "--predictions", str(table), "--heat-maps", "3", "--json", str(out)])

    heat = json.loads(out.read_text())["heat_outside"]
    assert status == 0
    assert 1 <= heat["n"] <= 3
    assert heat["shown"] == {"mean": 0.0, "percentile_95": 0.0}
    assert 0 < heat["network"]["mean"] < 1


def test_shipped_network_with_random_weights_looks_elsewhere() -> None:
    """Sanity check of Adebayo et al. (2018): a map that survives random weights shows edges, not the model."""
    from diagnosis.demo.drawing import CameraKind, FundusSpec, draw_fundus
    from ml.imaging.fov import find_fov

    classifier = DiseaseClassifier(bundles.load_bundle(REPOSITORY / "ml/bundles" / bundles.DISEASE_CLASSIFICATION))
    pixels = draw_fundus(FundusSpec(seed=5, camera=CameraKind.HANDHELD))
    fov = find_fov(pixels)
    trained = classifier.classify(pixels, fov)
    column = trained.classes.index(trained.label)
    network, weights, kernel = classifier._forward, classifier._forward.get_weights(), classifier._kernel

    correlations = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        network.set_weights([_shuffled(values, rng) for values in weights])
        classifier._kernel = _shuffled(kernel, rng)
        random = classifier.classify(pixels, fov)
        maps = (each.class_maps[..., column].ravel() for each in (trained, random))
        correlations.append(spearmanr(*maps)[0])

    # One random network may prefer the rim or the middle as the trained one does; all of them do not.
    assert abs(np.mean(correlations)) < 0.4


def _shuffled(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Keep the values of a layer and lose what they had learnt."""
    return rng.permutation(weights.ravel()).reshape(weights.shape)
