"""Products of a backbone in FP8 by NVIDIA's Transformer Engine, where that is installed. Not yet tried on a GPU.

Queries, keys, values, output gate and output of the main attention, and the queries and output of the cross-attention:
the linear maps of video tokens that a block calls as modules. The camera half, the gates, what reads captions (their
number is no multiple of 8) and the MLP's maps, which the block multiplies by itself, stay bfloat16.
"""

import contextlib
from typing import Any

import torch
from torch import nn

from wmkit.errors import InputError
from wmkit.model.dit import CameraDiT

__all__ = ["FP8_MAPS", "fp8_autocast", "to_fp8"]

FP8_MAPS = ("attn.qkv", "attn.output_gate", "attn.proj", "cross_attn.q_linear", "cross_attn.proj")
SIDE = 16  # a weight's sides have to divide by it


def _engine() -> Any:
    """Transformer Engine; InputError where it is not, or cannot be loaded."""
    try:
        import transformer_engine.pytorch as engine  # pyright: ignore[reportMissingImports]
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"--precision fp8: expected the package transformer_engine, got: {reason}; use --precision bfloat16"
        ) from error
    return engine


def to_fp8(model: CameraDiT) -> None:
    """Replace FP8_MAPS of every block by Transformer Engine's, with the same weights in bfloat16.

    InputError without the package, and for a width that does not divide by 16.
    """
    engine = _engine()
    if model.config.width % SIDE:
        raise InputError(
            f"--precision fp8: expected a width that divides by {SIDE}, got {model.config.width}; use --precision "
            "bfloat16"
        )
    for block in model.blocks:
        for name in FP8_MAPS:
            owner_name, _, own = name.rpartition(".")
            owner = getattr(block, owner_name)
            if owner is not None:
                setattr(owner, own, _replaced(getattr(owner, own), engine))


def fp8_autocast() -> contextlib.AbstractContextManager[Any]:
    """Meanwhile Transformer Engine's maps multiply in FP8."""
    return _engine().fp8_autocast(enabled=True)


def _replaced(linear: nn.Linear, engine: Any) -> nn.Module:
    new = engine.Linear(
        linear.in_features, linear.out_features, bias=linear.bias is not None, params_dtype=torch.bfloat16
    )
    with torch.no_grad():
        new.weight.copy_(linear.weight)
        if linear.bias is not None:
            new.bias.copy_(linear.bias)
    return new
