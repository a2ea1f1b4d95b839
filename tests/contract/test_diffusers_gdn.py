"""Frame-wise GDN against diffusers' torch path (Apache-2.0), the public reading of the released blocks."""

import importlib

import pytest
import torch

from tests.unit.model.gdn_inputs import assert_close, gdn_inputs, values_and_gradients
from wmkit.model.ops.frame_gdn import Backend, ChunkLayout, bidirectional_read, frame_gdn

theirs = importlib.import_module("diffusers.models.transformers.transformer_sana_wm")

SIZE = (2, 2, 6, 5, 8, 8)  # their value channels are the key channels
OURS: tuple[Backend, ...] = ("literal", "scan", "block")


def channels_first(x: torch.Tensor) -> torch.Tensor:
    """(B, H, T, S, D) -> (B, H, D, T S)."""
    return x.movedim(-1, 2).flatten(-2)


def tokens_last(x: torch.Tensor) -> torch.Tensor:
    """(B, H, D, T S) -> (B, H, T, S, D)."""
    return x.unflatten(-1, (SIZE[2], SIZE[3])).movedim(2, -1)


def their_parts(*inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Numerator and denominator of their forward pass, inclusive."""
    q_rot, k_rot, q, k, v = (channels_first(x) for x in inputs[:5])
    num, den = theirs.torch_chunk_sana_gdn(q, k, v, q_rot, k_rot, *inputs[5:7], return_components=True)
    return tokens_last(num), tokens_last(den)


def their_bidirectional(*inputs: torch.Tensor) -> tuple[torch.Tensor]:
    """As their attention puts the two directions together: flipped, shifted by one frame, summed, divided once."""
    num, den = their_parts(*inputs)
    q_rot, k_rot, q, k, v, beta, decay = inputs[:7]
    shifted = [theirs.flip_and_shift(x, dim=2, shift_val=0.0) for x in (k_rot, k, v, beta)]
    back = q_rot.flip(2), shifted[0], q.flip(2), *shifted[1:], theirs.flip_and_shift(decay, dim=2, shift_val=1.0)
    num_back, den_back = (x.flip(2) for x in their_parts(*back))
    return ((num + num_back) / (den + den_back + 1e-8),)


@pytest.mark.parametrize("backend", OURS)
def test_numerator_and_denominator_of_the_forward_pass(backend: Backend) -> None:
    inputs = gdn_inputs(SIZE)[:7]
    causal = ChunkLayout.causal(SIZE[2])

    def ours(*x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        q_rot, k_rot, q, k, v, beta, decay = x
        return (
            bidirectional_read(q_rot, k_rot, v, beta, decay, layout=causal, backend=backend),
            bidirectional_read(q, k, torch.ones_like(v[..., :1]), beta, decay, layout=causal, backend=backend),
        )

    want, got = values_and_gradients(their_parts, inputs), values_and_gradients(ours, inputs)
    # The same float64 sums in another order.
    assert_close(got[0] + got[1], want[0] + want[1], 1e-12)


@pytest.mark.parametrize("backend", OURS)
def test_bidirectional_output_and_gradients(backend: Backend) -> None:
    inputs = gdn_inputs(SIZE)[:7]

    def ours(*x: torch.Tensor) -> tuple[torch.Tensor]:
        q_rot, k_rot, q, k, v, beta, decay = x
        return (frame_gdn((q_rot, k_rot), (q, k), v, beta, decay, backend=backend),)

    want, got = values_and_gradients(their_bidirectional, inputs), values_and_gradients(ours, inputs)
    # The same float64 sums in another order, and one division by sums of positive terms.
    assert_close(got[0] + got[1], want[0] + want[1], 1e-12)


@pytest.mark.parametrize("backend", OURS)
def test_camera_numerator(backend: Backend) -> None:
    q, k, _, _, v, beta, decay = gdn_inputs(SIZE)[:7]
    tokens = [channels_first(x) for x in (q, k, v)]
    want = theirs.torch_chunk_cam_single_path_delta_rule(*tokens, beta, decay)
    got = bidirectional_read(q, k, v, beta, decay, layout=ChunkLayout.causal(SIZE[2]), backend=backend)
    assert_close([got.detach()], [tokens_last(want).detach()], 1e-12)
