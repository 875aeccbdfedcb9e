import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ml.__main__ import main
from ml.bundle import write_bundle
from ml.commands import verify_bundle
from tests.support import REPOSITORY

MANIFEST: dict[str, Any] = {
    "name": "fundus_vessel_segmentation",
    "version": "1.0.0",
    "task": "vessel segmentation",
    "framework": "pytorch",
    "architecture": {},
    "input": {},
    "output": {},
}


def verdict(directory: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    status = main(["verify-bundle", str(directory), "--json", "-"])
    return status, json.loads(capsys.readouterr().out)


def test_sound_bundle_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(verify_bundle, "check_network", lambda _: None)
    write_bundle(tmp_path / "a", MANIFEST, {"weights.safetensors": b"w", "MODEL_CARD.md": b"# Card"})

    status, report = verdict(tmp_path, capsys)

    assert (status, report["ok"], report["bundles"][0]["version"]) == (0, True, "1.0.0")


def test_bundle_without_a_card_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(verify_bundle, "check_network", lambda _: None)
    write_bundle(tmp_path / "a", MANIFEST, {"weights.safetensors": b"w"})

    status, report = verdict(tmp_path / "a", capsys)

    assert status == 1
    assert "MODEL_CARD.md" in report["bundles"][0]["problem"]


def test_one_bad_bundle_fails_the_whole_and_names_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(verify_bundle, "check_network", lambda _: None)
    for name in ("good", "spoiled"):
        write_bundle(tmp_path / name, MANIFEST, {"weights.safetensors": b"w", "MODEL_CARD.md": b"# Card"})
    (tmp_path / "spoiled" / "weights.safetensors").write_bytes(b"v")

    status, report = verdict(tmp_path, capsys)

    assert status == 1
    assert [(entry["bundle"], entry["ok"]) for entry in report["bundles"]] == [("good", True), ("spoiled", False)]


def test_weights_that_are_no_network_fail(tmp_path: Path, capsys) -> None:
    write_bundle(tmp_path / "a", MANIFEST, {"weights.safetensors": b"w", "MODEL_CARD.md": b"# Card"})

    status, report = verdict(tmp_path, capsys)

    assert (status, report["ok"]) == (1, False)


def test_unknown_network_fails(tmp_path: Path, capsys) -> None:
    unknown = {**MANIFEST, "task": "prophecy"}
    write_bundle(tmp_path / "a", unknown, {"weights.safetensors": b"w", "MODEL_CARD.md": b"# Card"})

    status, report = verdict(tmp_path, capsys)

    assert status == 1
    assert "No network is known" in report["bundles"][0]["problem"]


def test_directory_without_bundles_fails(tmp_path: Path) -> None:
    assert main(["verify-bundle", str(tmp_path)]) == 1


def test_shipped_bundles_pass_and_the_frameworks_keep_silent() -> None:
    words = [sys.executable, "-m", "ml", "verify-bundle"]

    child = subprocess.run(words, cwd=REPOSITORY, capture_output=True, check=False, text=True)

    assert child.returncode == 0, child.stderr
    shipped = sorted(path.parent.name for path in (REPOSITORY / "ml" / "bundles").glob("*/bundle.toml"))
    lines = sorted(line.split(" ")[0] for line in child.stderr.splitlines() if line.endswith(": ok"))
    assert lines == shipped
    assert len(child.stderr.splitlines()) == len(shipped)
