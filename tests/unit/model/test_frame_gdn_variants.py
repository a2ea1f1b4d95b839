"""What a frame may see: chunks, streams and padding of the frame-wise GDN."""

import pytest
import torch

from tests.unit.model.gdn_inputs import gdn_inputs
from wmkit.model.ops.frame_gdn import (
    Backend,
    ChunkLayout,
    GdnState,
    bidirectional_read,
    frame_gdn,
    stream_frame_gdn,
    stream_read,
)

BACKENDS: tuple[Backend, ...] = ("literal", "scan", "block")


def detached(size: tuple[int, ...]) -> list[torch.Tensor]:
    """q_rot, k_rot, q, k, v, beta, decay."""
    return [x.detach() for x in gdn_inputs(size)[:7]]


def whole_op(tensors: list[torch.Tensor], layout: ChunkLayout | None, backend: Backend) -> torch.Tensor:
    q_rot, k_rot, q, k, v, beta, decay = tensors
    return frame_gdn((q_rot, k_rot), (q, k), v, beta, decay, layout=layout, backend=backend)


def test_released_layout_is_four_and_then_threes() -> None:
    layout = ChunkLayout.first_plus_one(121)
    assert layout.frames == (4,) + (3,) * 39
    assert [t for t in range(11) if layout.ends[t]] == [3, 6, 9]
    assert ChunkLayout.first_plus_one(6).frames == (4, 2)
    assert ChunkLayout.first_plus_one(3).frames == (3,)
    assert ChunkLayout.causal(3).ends == (True, True, True)
    assert ChunkLayout.whole(3).ends == (False, False, True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("frames", [(4, 3, 3), (1, 1, 1, 1, 1, 1, 1, 1, 1, 1)], ids=["chunks", "causal"])
def test_a_later_chunk_changes_nothing_before(frames: tuple[int, ...], backend: Backend) -> None:
    layout = ChunkLayout(frames=frames)
    tensors = detached((1, 2, 10, 3, 4, 4))
    before = whole_op(tensors, layout, backend)
    border = sum(frames[:2])
    for index, tensor in enumerate(tensors):
        changed = list(tensors)
        changed[index] = tensor.clone()
        changed[index][:, :, border:] *= 0.5
        after = whole_op(changed, layout, backend)
        assert torch.equal(after[:, :, :border], before[:, :, :border])
        assert not torch.allclose(after[:, :, border:], before[:, :, border:])


@pytest.mark.parametrize("backend", BACKENDS)
def test_within_its_chunk_a_frame_does_see_ahead(backend: Backend) -> None:
    tensors = detached((1, 1, 7, 3, 4, 4))
    before = whole_op(tensors, ChunkLayout(frames=(4, 3)), backend)
    tensors[4] = tensors[4].clone()
    tensors[4][:, :, 6] += 1.0
    after = whole_op(tensors, ChunkLayout(frames=(4, 3)), backend)
    assert torch.equal(after[:, :, :4], before[:, :, :4])
    assert (after[:, :, 4:] != before[:, :, 4:]).any(dim=-1).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("frames", [(4, 3, 3), (1, 1, 1, 1), (5,)], ids=str)
def test_a_call_per_chunk_equals_one_call(frames: tuple[int, ...], backend: Backend) -> None:
    layout = ChunkLayout(frames=frames)
    tensors = detached((2, 2, layout.total, 3, 4, 5))
    once = whole_op(tensors, layout, backend)
    read_once = bidirectional_read(tensors[0], tensors[1], *tensors[4:], layout=layout, backend=backend)
    past: GdnState | None = None
    memory: torch.Tensor | None = None
    pieces, reads = [], []
    for part in zip(*(x.split(list(frames), dim=2) for x in tensors), strict=True):
        q_rot, k_rot, q, k, v, beta, decay = part
        out, past = stream_frame_gdn((q_rot, k_rot), (q, k), v, beta, decay, past, backend=backend)
        read, memory = stream_read((q_rot, k_rot), v, beta, decay, memory, backend=backend)
        pieces.append(out)
        reads.append(read)
    # The same float64 products, batched differently.
    torch.testing.assert_close(torch.cat(pieces, dim=2), once, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(torch.cat(reads, dim=2), read_once, rtol=1e-12, atol=1e-13)


def test_gradients_flow_through_the_carried_state() -> None:
    inputs = gdn_inputs((1, 1, 4, 3, 4, 4))[:7]
    once = whole_op(inputs, ChunkLayout(frames=(2, 2)), "scan").square().sum()
    want = torch.autograd.grad(once, inputs)
    halves = [x.split(2, dim=2) for x in inputs]
    past: GdnState | None = None
    total = torch.zeros((), dtype=torch.float64)
    for i in range(2):
        q_rot, k_rot, q, k, v, beta, decay = (half[i] for half in halves)
        out, past = stream_frame_gdn((q_rot, k_rot), (q, k), v, beta, decay, past)
        total = total + out.square().sum()
    got = torch.autograd.grad(total, inputs)
    for mine, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-12)  # float64, some hundred roundings


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_token_with_beta_zero_is_not_there(backend: Backend) -> None:
    tensors = detached((1, 2, 5, 4, 3, 3))
    kept = [x[:, :, :, :3] if x.dim() > 3 else x for x in tensors]
    tensors[5] = tensors[5].clone()
    tensors[5][..., 3] = 0
    padded = whole_op(tensors, None, backend)
    torch.testing.assert_close(padded[:, :, :, :3], whole_op(kept, None, backend), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("padding", [(5,), (0,), (2, 3)], ids=["end", "start", "middle"])
def test_a_frame_of_beta_zero_and_decay_one_is_not_there(padding: tuple[int, ...], backend: Backend) -> None:
    tensors = detached((1, 2, 6, 4, 3, 3))
    kept = [t for t in range(6) if t not in padding]
    short = [x[:, :, kept] for x in tensors]
    tensors[5], tensors[6] = tensors[5].clone(), tensors[6].clone()
    tensors[5][:, :, list(padding)] = 0
    tensors[6][:, :, list(padding)] = 1
    padded = whole_op(tensors, None, backend)
    torch.testing.assert_close(padded[:, :, kept], whole_op(short, None, backend), rtol=1e-12, atol=1e-13)
