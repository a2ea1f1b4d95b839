"""A streamed clip is the chunk-causal one, and what it keeps does not grow."""

import pytest
import torch

from tests.unit.model.tiny import (
    HEIGHT,
    STRIDE,
    WIDTH,
    moving_cameras,
    noisy_latent,
    open_last_layer,
    sigmas,
    stirred,
    tiny_model,
)
from wmkit.errors import ConfigError
from wmkit.model import CameraBatch, CameraDiT
from wmkit.model.config import TextConfig
from wmkit.model.live_bytes import LiveBytes
from wmkit.model.ops.frame_gdn import ChunkLayout
from wmkit.model.presets import preset
from wmkit.model.sampler import Prompt, SamplerConfig
from wmkit.model.stream import StreamConfig, StreamState
from wmkit.model.stream_sampler import stream_chunks
from wmkit.model.text import TextBatch
from wmkit.model.work import Grid, meta_inputs

B = 2
LAYOUT = ChunkLayout(frames=(4, 3, 1, 3))
T = LAYOUT.total


def cameras_until(frame: int) -> CameraBatch:
    """Of the same path, up to the end of latent frame `frame` - 1."""
    whole = moving_cameras(B, 1 + STRIDE * (T - 1))
    count = 1 + STRIDE * (frame - 1)
    return CameraBatch(
        world_from_cam=whole.world_from_cam[:, :count],
        intrinsics=whole.intrinsics[:, :count],
        width=WIDTH,
        height=HEIGHT,
    )


@torch.no_grad()
def streamed(
    model: CameraDiT, latent: torch.Tensor, text: TextBatch | None = None, config: StreamConfig | None = None
) -> tuple[torch.Tensor, list[StreamState]]:
    """Chunk after chunk; every state on the way."""
    sigma, parts, states = sigmas(B, T), [], []
    begin, state = 0, None
    for count in LAYOUT.frames:
        end = begin + count
        part, state = model.stream(latent[:, begin:end], sigma[:, begin:end], cameras_until(end), text, state, config)
        parts.append(part)
        states.append(state)
        begin = end
    return torch.cat(parts, dim=1), states


@pytest.mark.parametrize("compat", ["none", "sana-wm"])
@pytest.mark.parametrize("softmax_every", [0, 1, 3])
def test_chunk_after_chunk_is_one_shot(softmax_every: int, compat: str) -> None:
    text = TextConfig(channels=8, tokens=5)
    model = stirred(tiny_model(softmax_every=softmax_every, text=text, compat=compat))
    generator = torch.Generator().manual_seed(0)
    caption = TextBatch(
        states=torch.randn(B, 5, 8, generator=generator, dtype=torch.float64), mask=torch.ones(B, 5).bool()
    )
    latent = noisy_latent(B, T)
    with torch.no_grad():
        whole = model(latent, sigmas(B, T), cameras_until(T), caption, chunks=LAYOUT)
    parts, states = streamed(model, latent, caption)
    # float64; the same sums, split at the chunks' borders.
    torch.testing.assert_close(parts, whole, rtol=1e-10, atol=1e-10)
    assert [state.frames for state in states] == [4, 7, 8, 11]


def test_a_first_chunk_of_one_frame_cannot_see_the_released_rays_to_come() -> None:
    """Our packing streams from any first chunk; the released one takes latent frame 0's rays from its future."""
    latent, sigma, differs = noisy_latent(B, 4), sigmas(B, 4), {}
    layout = ChunkLayout(frames=(1, 3))
    for compat in ("none", "sana-wm"):
        model = stirred(open_last_layer(tiny_model(compat=compat)))
        with torch.no_grad():
            whole = model(latent, sigma, cameras_until(4), chunks=layout)
            one, past = model.stream(latent[:, :1], sigma[:, :1], cameras_until(1))
            rest, _ = model.stream(latent[:, 1:], sigma[:, 1:], cameras_until(4), None, past)
        differs[compat] = (torch.cat([one, rest], dim=1) - whole).abs().max() / whole.abs().max()
    assert differs["none"] < 1e-10
    assert differs["sana-wm"] > 1e-4


def test_denoising_steps_start_from_the_same_past() -> None:
    """A pass changes no state: the noisy steps are free to be thrown away, the clean one goes on."""
    model = stirred(tiny_model())
    latent, sigma = noisy_latent(B, T), sigmas(B, T)
    with torch.no_grad():
        _, past = model.stream(latent[:, :4], sigma[:, :4], cameras_until(4))
        one, _ = model.stream(latent[:, 4:7], sigma[:, 4:7], cameras_until(7), None, past)
        model.stream(5 * latent[:, 4:7], sigma[:, 4:7], cameras_until(7), None, past)
        again, _ = model.stream(latent[:, 4:7], sigma[:, 4:7], cameras_until(7), None, past)
    assert torch.equal(again, one)


@pytest.mark.parametrize(("window", "sink"), [(0, True), (1, True), (1, False), (2, True), (9, False)])
def test_window_and_sink_are_a_mask(window: int, sink: bool) -> None:
    """One softmax block: what was dropped might as well never have been valid."""
    model = stirred(tiny_model(softmax_every=1, depth=1))
    # The MLP's convolution over time keeps the frame before, whatever attention dropped.
    model.blocks[0].mlp.t_conv.weight.data.zero_()  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
    latent = noisy_latent(B, T)
    parts, _ = streamed(model, latent, None, StreamConfig(window=window, sink=sink))
    begin = 0
    for index, count in enumerate(LAYOUT.frames):
        end = begin + count
        kept = {*range(max(index - window, 0), index + 1), *([0] if sink else [])}
        valid_T = torch.repeat_interleave(
            torch.tensor([chunk in kept for chunk in range(len(LAYOUT.frames))]), torch.tensor(LAYOUT.frames)
        )[:end]
        with torch.no_grad():
            want = model(latent[:, :end], sigmas(B, T)[:, :end], cameras_until(end), None, valid_T.expand(B, -1))
        torch.testing.assert_close(parts[:, begin:end], want[:, begin:])
        begin = end


def test_what_is_kept_does_not_grow() -> None:
    model = stirred(tiny_model(softmax_every=3))
    _, states = streamed(model, noisy_latent(B, T), None, StreamConfig(window=1))

    def sizes(state: StreamState, layer: int) -> dict[str, object]:
        past = state.blocks[layer]
        return {
            "main": None if past.main is None else past.main.memory.shape,
            "camera": None if past.camera is None else past.camera.shape,
            "keys": None if past.keys is None else past.keys.shape,
            "mlp": None if past.mlp is None else past.mlp.shape,
            "tokens": sum(keys.shape[2] for keys, _ in past.chunks),
        }

    cells = 6
    assert sizes(states[-1], 0) == sizes(states[0], 0) | {"tokens": 0}
    assert sizes(states[0], 0)["keys"] == (B, 3, cells, 32)
    assert sizes(states[-1], 2)["tokens"] == (4 + 3) * cells, "the sink and the latest chunk"
    assert sizes(states[-1], 2)["main"] is None


def test_bad_streams_are_named() -> None:
    with pytest.raises(ConfigError, match="expected mixer frame-gdn, got linear"):
        tiny_model(mixer="linear").stream(noisy_latent(B, 1), sigmas(B, 1), None)
    with pytest.raises(ConfigError, match="window of at least 0"):
        StreamConfig(window=-1)
    model = tiny_model()
    _, past = model.stream(noisy_latent(B, 4), sigmas(B, 4), cameras_until(4))
    with pytest.raises(ConfigError, match="cameras: expected 13 video frames"):
        model.stream(noisy_latent(B, 3), sigmas(B, 3), cameras_until(3), None, past)


def test_a_stream_three_times_as_long_holds_no_more() -> None:
    """Bytes of all tensors alive at once, pixels included, counted on the meta device; but for 80 bytes of a camera."""
    config = preset("tiny")
    with torch.device("meta"):
        model = CameraDiT(config)

    def peak(chunks: int) -> int:
        grid = Grid(frames=1 + 3 * chunks, rows=4, columns=6, text_tokens=12)
        latent, _, cameras, text = meta_inputs(config, grid)
        kept = StreamConfig(window=1, sink=True)
        prompt = Prompt(text=text)
        stream = stream_chunks(model, latent[:, :1], cameras, SamplerConfig(steps=1), prompt, kept=kept)
        with LiveBytes() as live:
            assert sum(1 for _ in stream) == chunks
        return live.peak

    short, long = peak(3), peak(9)
    assert 0 <= long - short <= 6 * 3 * config.latent_stride * 80
    assert short > 100 * (long - short)
