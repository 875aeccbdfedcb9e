import csv
import json

import numpy as np
import pytest
from PIL import Image

from diagnosis.demo.drawing import CameraKind, FundusSpec, draw_fundus
from ml.__main__ import main
from ml.contracts import Quality
from ml.evaluation import gate


def test_verdicts_are_counted_by_name() -> None:
    good = Quality(gradable=True, score=0.9)
    dark = Quality(gradable=False, score=0.1, reasons=("too_dark", "blurred"))

    table = gate.tabulate([("A", good), ("A", dark), ("A", good), ("B", dark)])

    assert table["A"] == {
        "n": 3,
        "gradable": 2,
        "gradable_share": 0.6667,
        "reasons": {"blurred": 1, "too_dark": 1},
    }
    assert table["B"]["gradable_share"] == 0.0


@pytest.mark.parametrize("seed", [0, 1])
def test_drawn_strangers_are_refused(seed: int) -> None:
    verdicts = gate.judge(gate.strangers(seed))

    assert {kind for kind, _ in verdicts} >= {"black", "white", "noise", "document", "oct_scan", "landscape"}
    assert [kind for kind, verdict in verdicts if verdict.gradable] == []


def test_strangers_differ_from_seed_to_seed() -> None:
    first, second = (dict(gate.strangers(seed)) for seed in (0, 1))

    assert (first["landscape"] != second["landscape"]).mean() > 0.5


def test_command_tells_sources_and_other_pictures_apart(tmp_path, capsys) -> None:
    pixels = draw_fundus(FundusSpec(seed=3, camera=CameraKind.HANDHELD))
    Image.fromarray(pixels).resize((400, 400)).save(tmp_path / "good.png")
    Image.new("RGB", (90, 90)).save(tmp_path / "black.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    rows = [("good.png", "Normal", "A"), ("black.png", "Normal", "B"), ("broken.png", "Normal", "B")]
    with (tmp_path / "manifest.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("file", "class", "source_dataset"), *rows])
    (tmp_path / "others").mkdir()
    Image.fromarray(np.full((90, 90, 3), 200, np.uint8)).save(tmp_path / "others" / "plain.png")
    out = tmp_path / "gate.json"

    words = ["--manifest", str(tmp_path / "manifest.csv"), "--root", str(tmp_path)]
    status = main(["evaluate-gate", *words, "--strangers", str(tmp_path / "others"), "--json", str(out)])

    figures = json.loads(out.read_text())
    assert status == 0
    assert {name: row["gradable"] for name, row in figures["photographs"].items()} == {"A": 1, "B": 0, "all": 1}
    assert figures["photographs"]["B"]["reasons"] == {"too_dark": 1}
    assert [row["file"] for row in figures["unreadable"]] == ["broken.png"]
    assert figures["other_pictures"]["negative"]["gradable"] == 0
    assert figures["other_pictures"]["folder"] == {
        "n": 1,
        "gradable": 0,
        "gradable_share": 0.0,
        "reasons": figures["other_pictures"]["folder"]["reasons"],
    }
    assert "A: n 1, gradable 100.00%" in capsys.readouterr().err
    assert main(["evaluate-gate", *words, "--source", "absent"]) == 1


def test_command_makes_pictures_of_several_photographs(tmp_path) -> None:
    pixels = draw_fundus(FundusSpec(seed=3, camera=CameraKind.HANDHELD))
    Image.fromarray(pixels).resize((300, 300)).save(tmp_path / "good.png")
    (tmp_path / "manifest.csv").write_text("file,class,source_dataset\ngood.png,Normal,A\n")
    out = tmp_path / "gate.json"

    words = ["--manifest", str(tmp_path / "manifest.csv"), "--root", str(tmp_path), "--composites", "1"]
    status = main(["evaluate-gate", *words, "--json", str(out)])

    figures = json.loads(out.read_text())
    assert status == 0
    assert len(figures["several_photographs"]) >= 12
    # A photograph edge to edge with itself, without any border, shows hardly a seam.
    apart = {name: row for name, row in figures["several_photographs"].items() if not name.startswith("filling_")}
    assert all(row["gradable"] == 0 for row in apart.values())
    assert sum(row["n"] for row in figures["other_surroundings"].values()) == 8
