"""Depth networks of random weights, saved as real ones are."""

from pathlib import Path

import pytest

__all__ = ["tiny_depth_anything"]


def tiny_depth_anything(folder: Path, kind: str, seed: int = 0) -> Path:
    """A Depth Anything of a few thousand parameters whose depth is `kind`: metric or relative."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers", reason="an extra: pip install transformers")
    torch.manual_seed(seed)
    backbone = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14,
        out_features=["stage1", "stage2"], reshape_hidden_states=False,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, patch_size=14, neck_hidden_sizes=[8, 8],
        reassemble_factors=[2, 1], fusion_hidden_size=8, head_hidden_size=8, depth_estimation_type=kind, max_depth=80,
        initializer_range=0.2,
    )  # fmt: skip
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    transformers.DPTImageProcessor(size={"height": 56, "width": 56}, do_pad=False).save_pretrained(folder)
    return folder
