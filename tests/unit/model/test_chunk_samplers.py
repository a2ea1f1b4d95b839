"""Chunk-causal sampling: chunks that overlap in time, one by one, and streamed."""

from typing import Any

import pytest
import torch

from tests.unit.model.tiny import STRIDE, moving_cameras, noisy_latent, stirred, tiny_model
from wmkit.errors import ConfigError, InputError
from wmkit.model import CameraDiT, SamplerConfig, sample_latents
from wmkit.model.chunk_sampler import sample_chunks
from wmkit.model.config import TextConfig
from wmkit.model.ops.frame_gdn import ChunkLayout
from wmkit.model.sampler import Prompt
from wmkit.model.stream import StreamConfig
from wmkit.model.stream_sampler import stream_chunks
from wmkit.model.text import TextBatch

B = 2
LAYOUT = ChunkLayout(frames=(3, 2, 2))
T = LAYOUT.total
CAMERAS = moving_cameras(B, 1 + STRIDE * (T - 1))
CONFIG = SamplerConfig(steps=3, shift=2.0)


class Counted(CameraDiT):
    """Counts its passes and notes the noise levels it saw."""

    levels: list[list[float]]

    def forward(self, latent: torch.Tensor, sigma: torch.Tensor, *rest: Any, **seen: Any) -> torch.Tensor:
        self.levels.append([round(value, 6) for value in sigma[0].tolist()])
        return super().forward(latent, sigma, *rest, **seen)


def model_of(**changes: Any) -> CameraDiT:
    return stirred(tiny_model(**changes))


def test_one_chunk_is_the_plain_sampler() -> None:
    model, first = model_of(), noisy_latent(B, 1)
    plain = sample_latents(model, first, CAMERAS, CONFIG)
    torch.testing.assert_close(sample_chunks(model, first, CAMERAS, CONFIG, layout=ChunkLayout.whole(T)), plain)
    (streamed,) = stream_chunks(model, first, CAMERAS, CONFIG, layout=ChunkLayout.whole(T))
    torch.testing.assert_close(streamed, plain)


@pytest.mark.parametrize("interval", [0.0, 1 / 3, 0.5, 1.0])
def test_a_chunk_does_not_know_of_later_ones(interval: float) -> None:
    """So the first chunk of a long clip is a clip of its own, however soon the second begins."""
    model, first = model_of(), noisy_latent(B, 1)
    alone = sample_latents(model, first, CAMERAS.until(1 + STRIDE * 2), CONFIG)
    whole = sample_chunks(model, first, CAMERAS, CONFIG, layout=LAYOUT, interval=interval)
    torch.testing.assert_close(whole[:, :3], alone)
    assert torch.equal(whole[:, :1], first)


def test_levels_are_staggered() -> None:
    model = model_of()
    model.__class__ = Counted
    assert isinstance(model, Counted)
    model.levels = []
    progress: list[tuple[int, int]] = []
    sample_chunks(
        model,
        noisy_latent(B, 1),
        CAMERAS,
        SamplerConfig(steps=4, shift=1.0),
        layout=LAYOUT,
        interval=0.5,
        progress=lambda done, steps: progress.append((done, steps)),
    )
    # chunks begin at steps 0, 2 and 4 of 8
    assert model.levels == [
        [0, 1, 1],
        [0, 0.75, 0.75],
        [0, 0.5, 0.5, 1, 1],
        [0, 0.25, 0.25, 0.75, 0.75],
        [0, 0, 0, 0.5, 0.5, 1, 1],
        [0, 0, 0, 0.25, 0.25, 0.75, 0.75],
        [0, 0, 0, 0, 0, 0.5, 0.5],
        [0, 0, 0, 0, 0, 0.25, 0.25],
    ]
    assert progress == [(done, 8) for done in range(1, 9)]


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("softmax_every", [0, 1, 3])
def test_streamed_is_one_by_one(softmax_every: int, guidance: float) -> None:
    """Kept states in place of finished chunks that are looked at again; float64, the same sums in another order."""
    model = model_of(softmax_every=softmax_every, text=TextConfig(channels=8, tokens=5))
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, B, 5, 8, generator=generator, dtype=torch.float64)
    want, other = (TextBatch(states=part, mask=torch.ones(B, 5, dtype=torch.bool)) for part in states)
    prompt = Prompt(text=want, negative=other, guidance=guidance)
    first = noisy_latent(B, 1)
    chunks = list(stream_chunks(model, first, CAMERAS, CONFIG, prompt, layout=LAYOUT))
    assert [chunk.shape[1] for chunk in chunks] == [3, 2, 2]
    one_by_one = sample_chunks(model, first, CAMERAS, CONFIG, prompt, layout=LAYOUT, interval=1.0)
    torch.testing.assert_close(torch.cat(chunks, dim=1), one_by_one, rtol=1e-9, atol=1e-9)


def test_a_window_forgets() -> None:
    model, first = model_of(softmax_every=1), noisy_latent(B, 1)
    every, last = (
        torch.cat([*stream_chunks(model, first, CAMERAS, CONFIG, layout=LAYOUT, kept=kept)], dim=1)
        for kept in (None, StreamConfig(window=0, sink=False))
    )
    torch.testing.assert_close(last[:, :3], every[:, :3])
    assert not torch.allclose(last[:, 3:], every[:, 3:])


def test_gradients_are_on_between_chunks() -> None:
    stream = stream_chunks(model_of(), noisy_latent(B, 1), CAMERAS, CONFIG, layout=LAYOUT)
    assert not next(stream).requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("sampler", [sample_chunks, stream_chunks])
def test_bad_requests_are_named_before_anything_is_made(sampler: Any) -> None:
    model, first = model_of(), noisy_latent(B, 1)
    with pytest.raises(ConfigError, match=r"chunks: expected 7 latent frames in all, got 3"):
        sampler(model, first, CAMERAS, CONFIG, layout=ChunkLayout.whole(3))
    with pytest.raises(InputError, match=r"1 \+ 2 k frames, got 4"):
        sampler(model, first, CAMERAS.until(4), CONFIG)
    if sampler is sample_chunks:
        with pytest.raises(ConfigError, match="chunk interval: expected 0"):
            sampler(model, first, CAMERAS, CONFIG, layout=LAYOUT, interval=1.5)
