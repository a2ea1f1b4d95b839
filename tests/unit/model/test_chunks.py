"""Chunk-causal in the whole model: nothing of a later chunk reaches an earlier one, by any path."""

import pytest
import torch

from tests.unit.model.tiny import HEIGHT, STRIDE, WIDTH, moving_cameras, noisy_latent, sigmas, stirred, tiny_model
from wmkit.errors import ConfigError
from wmkit.model import CameraBatch, CameraDiT
from wmkit.model.attention import sees_ahead, symmetric_conv
from wmkit.model.block import GatedConvMlp
from wmkit.model.ops.frame_gdn import ChunkLayout
from wmkit.model.stream import Scope

B = 2
LAYOUT = ChunkLayout(frames=(3, 2, 1, 2))
T = LAYOUT.total
FRAMES = 1 + STRIDE * (T - 1)
KINDS = [("frame-gdn", 0), ("frame-gdn", 1), ("linear", 0), ("frame-gdn", 3)]


@torch.no_grad()
def velocity(model: CameraDiT, latent: torch.Tensor, cameras: CameraBatch, chunks: ChunkLayout | None) -> torch.Tensor:
    return model(latent, sigmas(B, latent.shape[1]), cameras, chunks=chunks)


def changed_after(cameras: CameraBatch, frame: int) -> CameraBatch:
    """Other cameras from latent frame `frame` on."""
    poses = cameras.world_from_cam.clone()
    start = STRIDE * (frame - 1) + 1
    poses[:, start:] = moving_cameras(B, FRAMES, seed=8).world_from_cam[:, start:]
    return CameraBatch(world_from_cam=poses, intrinsics=cameras.intrinsics, width=WIDTH, height=HEIGHT)


@pytest.mark.parametrize(("mixer", "softmax_every"), KINDS)
def test_later_chunks_do_not_leak(mixer: str, softmax_every: int) -> None:
    """To the last bit: other latents and cameras after a border, the same output before it, another one after."""
    model = stirred(tiny_model(mixer=mixer, softmax_every=softmax_every))
    latent, cameras = noisy_latent(B, T), moving_cameras(B, FRAMES)
    before = velocity(model, latent, cameras, LAYOUT)
    border = 0
    for count in LAYOUT.frames[:-1]:
        border += count
        other = latent.clone()
        other[:, border:] += 1.0
        after = velocity(model, other, changed_after(cameras, border), LAYOUT)
        assert torch.equal(after[:, :border], before[:, :border])
        assert (after[:, border:] - before[:, border:]).abs().amax(dim=(0, 2, 3, 4)).min() > 1e-6
    # The last frame of the first chunk reaches its first, the other chunks' frames their earlier neighbours.
    other = latent.clone()
    other[:, 2] += 1.0
    assert (velocity(model, other, cameras, LAYOUT) - before)[:, 0].abs().max() > 1e-9


@pytest.mark.parametrize(("mixer", "softmax_every"), KINDS)
def test_the_first_chunks_are_those_of_a_shorter_clip(mixer: str, softmax_every: int) -> None:
    model = stirred(tiny_model(mixer=mixer, softmax_every=softmax_every))
    latent, cameras = noisy_latent(B, T), moving_cameras(B, FRAMES)
    whole = velocity(model, latent, cameras, LAYOUT)
    head = CameraBatch(
        world_from_cam=cameras.world_from_cam[:, : 1 + STRIDE * 4],
        intrinsics=cameras.intrinsics[:, : 1 + STRIDE * 4],
        width=WIDTH,
        height=HEIGHT,
    )
    short = velocity(model, latent[:, :5], head, ChunkLayout(frames=(3, 2)))
    torch.testing.assert_close(short, whole[:, :5])


@pytest.mark.parametrize(("mixer", "softmax_every"), KINDS)
def test_one_chunk_is_bidirectional(mixer: str, softmax_every: int) -> None:
    model = stirred(tiny_model(mixer=mixer, softmax_every=softmax_every))
    latent, cameras = noisy_latent(B, T), moving_cameras(B, FRAMES)
    one = velocity(model, latent, cameras, ChunkLayout.whole(T))
    torch.testing.assert_close(one, velocity(model, latent, cameras, None))


def test_gradients_reach_what_a_chunk_sees_and_nothing_else() -> None:
    model = stirred(tiny_model(softmax_every=3))
    latent = noisy_latent(B, T).requires_grad_()
    model(latent, sigmas(B, T), moving_cameras(B, FRAMES), chunks=LAYOUT)[:, 3].square().sum().backward()
    assert latent.grad is not None
    reached = latent.grad.abs().amax(dim=(0, 2, 3, 4))
    assert (reached[:5] > 0).all()
    assert not reached[5:].any()


def test_key_convolution_is_the_released_sum() -> None:
    """Global causal plus per-chunk anti-causal minus the centre, each by torch's own convolution."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, T, 3, 4, generator=generator, dtype=torch.float64)
    weight = torch.randn(4, 1, 4, generator=generator, dtype=torch.float64)

    def causal(part: torch.Tensor) -> torch.Tensor:
        by_channel = torch.nn.functional.pad(part.permute(0, 2, 3, 1).flatten(0, 1), (3, 0))
        return torch.nn.functional.conv1d(by_channel, weight, groups=4).unflatten(0, (2, 3)).permute(0, 3, 1, 2)

    ahead = torch.cat([causal(part.flip(1)).flip(1) for part in x.split(list(LAYOUT.frames), dim=1)], dim=1)
    torch.testing.assert_close(symmetric_conv(x, weight, LAYOUT), causal(x) + ahead - weight[:, 0, -1] * x)


def test_mlp_pads_every_chunk_at_its_end() -> None:
    """As the released ChunkGLUMBConvTemp: a chunk's convolution over time sees the frame before it, zeros after it."""
    torch.manual_seed(0)
    mlp = GatedConvMlp(8, 16).double()
    x = torch.randn(2, T, 2, 3, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    got, begin = mlp(x, Scope(chunks=LAYOUT)), 0
    for count in LAYOUT.frames:
        lead = min(begin, 1)
        alone = mlp(x[:, begin - lead : begin + count])
        torch.testing.assert_close(got[:, begin : begin + count], alone[:, lead:])
        begin += count


def test_who_sees_ahead() -> None:
    assert sees_ahead(LAYOUT, 1).tolist() == [True, True, False, True, False, False, True, False]
    assert sees_ahead(LAYOUT, 2).tolist() == [True] + [False] * 7
    assert not sees_ahead(LAYOUT, 9).any()


def test_token_wise_mixer_is_another_rule_for_whole_clips() -> None:
    """The ablation: the same weights, every gradient, another output; chunks and padding are refused."""
    frame_wise = stirred(tiny_model(softmax_every=0))
    token_wise = tiny_model(softmax_every=0, mixer="token-gdn")
    token_wise.load_state_dict(frame_wise.state_dict())
    latent, cameras = noisy_latent(B, T), moving_cameras(B, FRAMES)
    assert not torch.allclose(velocity(token_wise, latent, cameras, None), velocity(frame_wise, latent, cameras, None))
    token_wise(latent, sigmas(B, T), cameras).square().mean().backward()
    for name, parameter in token_wise.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    with pytest.raises(ConfigError, match="expected whole clips"):
        velocity(token_wise, latent, cameras, LAYOUT)


def test_layouts_that_do_not_fit_are_named() -> None:
    with pytest.raises(ConfigError, match=f"expected {T} latent frames in all, got 3"):
        velocity(tiny_model(), noisy_latent(B, T), moving_cameras(B, FRAMES), ChunkLayout(frames=(3,)))
