"""Pixel latents: nothing is lost, nothing is mixed up."""

import pytest
import torch

from wmkit.errors import ConfigError, InputError
from wmkit.model import PixelUnshuffle


@pytest.mark.parametrize(("downscale", "stride", "chunks"), [(8, 4, 4), (2, 3, 1), (1, 1, 2), (4, 4, 0)])
def test_decode_returns_every_bit(downscale: int, stride: int, chunks: int) -> None:
    latent = PixelUnshuffle(downscale=downscale, stride=stride)
    size = (2, 1 + stride * chunks, 3, 3 * downscale, 5 * downscale)
    video = torch.rand(size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    z = latent.encode(video)
    assert z.shape == (2, 1 + chunks, latent.channels, 3, 5)
    assert torch.equal(latent.decode(z), video)


def test_default_is_what_the_default_model_takes() -> None:
    assert PixelUnshuffle().channels == 768


def test_a_cell_holds_its_own_pixels_and_frames() -> None:
    latent = PixelUnshuffle(downscale=2, stride=2)
    video = torch.zeros(1, 5, 3, 4, 6)
    video[0, 3, 1, 2:4, 4:6] = 1.0  # frame 3 is the first of latent frame 2
    z = latent.encode(video)
    assert z[0, 2, :, 1, 2].sum() == 4
    assert z.sum() == 4
    slots = z[0, 2, :, 1, 2].view(2, 3, 4)
    assert slots[0, 1].all()


def test_first_latent_frame_knows_the_first_picture_alone() -> None:
    latent = PixelUnshuffle(downscale=2, stride=4)
    video = torch.rand(1, 9, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    alone = latent.encode(video[:, :1])
    assert torch.equal(latent.encode(video)[:, :1], alone)


def test_bad_sizes_are_named() -> None:
    latent = PixelUnshuffle()
    with pytest.raises(InputError, match=r"1 \+ 4 k frames, got 16"):
        latent.encode(torch.zeros(1, 16, 3, 8, 8))
    with pytest.raises(InputError, match="divide by 8 px, got 12x8"):
        latent.encode(torch.zeros(1, 5, 3, 8, 12))
    with pytest.raises(InputError, match="768 channels, got 192"):
        latent.decode(torch.zeros(1, 2, 192, 1, 1))
    with pytest.raises(ConfigError, match="downscale and stride >= 1"):
        PixelUnshuffle(stride=0)
