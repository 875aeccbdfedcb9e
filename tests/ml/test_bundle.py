import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml import bundle as bundles
from ml.bundle import load_bundle, read_bundle, write_bundle
from ml.errors import BundleError

WEIGHTS = b"eight by"


def manifest(**changes: Any) -> dict[str, Any]:
    return {
        "name": "fundus_vessel_segmentation",
        "version": "1.2.3",
        "task": "vessels",
        "framework": "pytorch",
        "architecture": {"channels": (8, 16)},
        "input": {"side": np.int64(64)},
        "output": {"threshold": np.float64(0.5)},
        **changes,
    }


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "vessels"
    write_bundle(path, manifest(), {"weights.safetensors": WEIGHTS, "MODEL_CARD.md": b"# Card"})
    return path


def test_written_bundle_is_stamped_with_the_hash_of_its_weights(directory: Path) -> None:
    bundle = load_bundle(directory)

    assert bundle.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert (bundle.identity.name, bundle.identity.version) == ("fundus_vessel_segmentation", "1.2.3")
    assert bundle.weights_path.read_bytes() == WEIGHTS
    assert bundle.manifest["architecture"] == {"channels": [8, 16]}
    assert bundle.card == "# Card"


def test_changed_weights_are_refused_before_anything_opens_them(directory: Path) -> None:
    (directory / "weights.safetensors").write_bytes(WEIGHTS.upper())

    with pytest.raises(BundleError, match="does not match"):
        load_bundle(directory)


def test_missing_weights_are_refused(directory: Path) -> None:
    (directory / "weights.safetensors").unlink()

    with pytest.raises(BundleError, match=re.escape("lacks its file weights.safetensors")):
        load_bundle(directory)


@pytest.mark.parametrize("text", ["", "name = ", "files = 3", "\udc80"])
def test_unusable_manifest_is_a_bundle_error(directory: Path, text: str) -> None:
    (directory / "bundle.toml").write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(BundleError):
        read_bundle(directory)


def test_missing_directory_is_a_bundle_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        load_bundle(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["../weights.safetensors", "/etc/passwd", "a/b", "..", "bundle.toml"])
def test_file_names_stay_inside_the_bundle(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="not allowed"):
        write_bundle(tmp_path / "b", manifest(), {name: b"x", "weights.safetensors": WEIGHTS})


def test_weights_in_a_format_that_can_run_code_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="one weights file, found 0"):
        write_bundle(tmp_path / "b", manifest(), {"weights.pkl": WEIGHTS})


def test_replacing_a_bundle_keeps_its_card_and_leaves_nothing_behind(directory: Path) -> None:
    write_bundle(directory, manifest(version="2.0.0"), {"weights.safetensors": b"new"})

    assert load_bundle(directory).version == "2.0.0"
    assert load_bundle(directory).card == "# Card"
    assert [path.name for path in directory.parent.iterdir()] == ["vessels"]


def test_failed_write_leaves_the_old_bundle_in_place(directory: Path) -> None:
    incomplete = manifest()
    del incomplete["output"]

    with pytest.raises(BundleError, match="lacks output"):
        write_bundle(directory, incomplete, {"weights.safetensors": b"new"})

    assert load_bundle(directory).version == "1.2.3"
    assert [path.name for path in directory.parent.iterdir()] == ["vessels"]


def test_card_may_be_corrected_after_publication(directory: Path) -> None:
    (directory / "MODEL_CARD.md").write_text("# Better card")

    assert load_bundle(directory).card == "# Better card"


def test_model_directory_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RETINA_MODEL_DIR", str(tmp_path))
    assert bundles.default_model_dir() == tmp_path

    monkeypatch.delenv("RETINA_MODEL_DIR")
    assert bundles.default_model_dir().parts[-2:] == ("ml", "bundles")
