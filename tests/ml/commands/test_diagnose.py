import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.__main__ import main
from ml.bundle import BUNDLE_NAMES, default_model_dir
from ml.commands import diagnose
from tests import corpus
from tests.support import REPOSITORY, require

KEYS = {
    "mode", "status", "outcome", "prediction", "probabilities", "paths", "agreement", "quality",
    "artifacts", "vessel_features", "models", "timings_ms", "report_status", "error", "laterality",
}  # fmt: skip
PICTURES = {
    "photograph.jpg",
    "vessel_map.png",
    "vessel_mask.png",
    "vessel_overlay.png",
    "grad_cam.png",
    "grad_cam_overlay.png",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, list[dict], Path]:
    """Run the command once, on a good file, a broken one, an unusable one and one that is not there, without Django."""
    missing = [name for name in BUNDLE_NAMES if not (default_model_dir() / name / "bundle.toml").exists()]
    require(not missing, f"model bundles are missing: {', '.join(missing)}")
    root = tmp_path_factory.mktemp("diagnose")
    (root / "in").mkdir()
    (root / "in" / "eye.jpg").write_bytes(corpus.jpeg(corpus.fundus(400)))
    (root / "in" / "eye.png").write_bytes(corpus.png(corpus.document()))
    (root / "in" / "half.jpg").write_bytes(corpus.jpeg(corpus.fundus(128))[:1000])
    (root / "in" / "notes.txt").write_text("not a photograph")
    # A finder in front of all others stands for a machine without Django.
    blocker = root / "without_django.py"
    blocker.write_text(
        "import sys, runpy\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'django', 'diagnosis', 'rest_framework', 'celery'}:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
        "sys.argv[0] = 'ml'\n"
        "runpy.run_module('ml', run_name='__main__')\n"
    )
    words = ["diagnose", str(root / "in"), str(root / "absent.jpg"), "--out", str(root / "out"), "--json", "-"]
    child = subprocess.run(
        [sys.executable, str(blocker), *words],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr.decode()
    return child.returncode, json.loads(child.stdout), root / "out"


def test_every_photograph_is_reported_and_other_files_are_left_alone(finished) -> None:
    _status, results, out = finished

    assert [result["file"] for result in results] == ["eye.jpg", "eye.png", "half.jpg", "absent.jpg"]
    assert sorted(path.name for path in out.iterdir()) == ["absent", "eye", "eye-2", "half"]
    assert all(set(result) >= KEYS for result in results)
    for result, folder in zip(results, ("eye", "eye-2", "half", "absent"), strict=True):
        assert json.loads((out / folder / "result.json").read_text()) == result


def test_good_file_gets_all_pictures_at_its_size(finished) -> None:
    _status, results, out = finished

    assert {path.name for path in (out / "eye").iterdir()} == PICTURES | {"result.json"}
    assert {Image.open(out / "eye" / name).size for name in PICTURES} == {(400, 400)}
    assert results[0]["status"] == "succeeded"
    assert results[0]["outcome"] in {"finding", "indeterminate"}
    assert sum(results[0]["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert set(results[0]["artifacts"].values()) == PICTURES
    assert results[0]["vessel_features"]["research_use_only"] is True
    assert 0 < results[0]["vessel_features"]["density"] < 0.4
    assert Image.open(out / "eye" / "vessel_map.png").mode == "L"
    assert set(np.unique(np.asarray(Image.open(out / "eye" / "vessel_mask.png")))) == {0, 255}


def test_document_succeeds_without_a_disease(finished) -> None:
    result = finished[1][1]

    assert (result["status"], result["outcome"], result["prediction"]) == ("succeeded", "ungradable", None)
    assert (result["probabilities"], result["vessel_features"]) == (None, None)
    assert "not_a_fundus" in result["quality"]["reasons"]
    assert "Glaucoma" not in json.dumps(result)


def test_bad_files_are_reported_and_do_not_stop_the_rest(finished) -> None:
    half, absent = finished[1][2:]

    assert (half["status"], half["error"]["code"]) == ("failed", "image_truncated")
    assert (absent["status"], absent["error"]["code"]) == ("failed", "file_missing")


class RefusingPipeline:
    """A pipeline that must not be asked."""

    def analyse(self, *_arguments: object) -> None:
        pytest.fail("nothing could be decoded")


def test_status_is_one_when_nothing_could_be_analysed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.pipeline.Pipeline.load", RefusingPipeline)
    (tmp_path / "empty.jpg").touch()

    assert main(["diagnose", str(tmp_path / "empty.jpg"), "--out", str(tmp_path / "out")]) == 1

    assert json.loads((tmp_path / "out" / "empty" / "result.json").read_text())["error"]["code"] == "file_empty"


def test_equal_stems_get_folders_of_their_own(tmp_path: Path) -> None:
    files = [Path("a/x.jpg"), Path("b/x.jpg"), Path("x-2.png"), Path("c/x.dcm")]

    folders = [folder.name for _, folder in diagnose._with_folders(files, tmp_path)]

    assert folders == ["x", "x-2", "x-2-2", "x-3"]
