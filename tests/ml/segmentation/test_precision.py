"""Half precision only where it is faster: by matrix tiles, not by vector instructions."""

import pytest
import torch

from ml.segmentation.predict import has_bfloat16


@pytest.mark.parametrize("has_tiles", [True, False])
def test_processor_without_matrix_tiles_computes_in_single_precision(
    monkeypatch: pytest.MonkeyPatch, has_tiles: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_tiles)

    assert has_bfloat16(torch.device("cpu")) is has_tiles
