"""A model small enough for float64 gradients, and cameras that move: what the model's tests share."""

import torch
from torch import nn

from wmkit.model import CameraBatch, CameraDiT, ModelConfig

STRIDE, WIDTH, HEIGHT = 2, 48, 32

torch.set_num_threads(1)  # tensors this small only wait for each other on a busy machine


def tiny_config(**changes: object) -> ModelConfig:
    """Three blocks, the last one softmax; C = 6 so that a latent is cheap."""
    sizes = {"latent_channels": 6, "latent_stride": STRIDE, "width": 32, "depth": 3, "heads": 2, "softmax_every": 3}
    return ModelConfig(**{**sizes, "frequency_channels": 16, **changes})


def tiny_model(seed: int = 0, **changes: object) -> CameraDiT:
    """A model as it starts training, float64."""
    torch.manual_seed(seed)
    return CameraDiT(tiny_config(**changes)).double()


def stirred(model: CameraDiT, seed: int = 1) -> CameraDiT:
    """The same model with every parameter moved off its initial value, so that no zero hides a path."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        parameter.data += 0.05 * noise
    return model


def open_last_layer(model: CameraDiT) -> CameraDiT:
    """The output layer starts at zero, which would make every model equal."""
    nn.init.normal_(model.final_layer.linear.weight, generator=torch.Generator().manual_seed(2))
    return model


def moving_cameras(batch: int, frames: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> CameraBatch:
    """Random smooth motion that does not start at the identity; intrinsics differ by clip and frame."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    twist = torch.zeros(batch, frames, 4, 4, dtype=torch.float64)
    steps = 0.2 * draw(batch, frames, 6).cumsum(dim=1)
    rx, ry, rz = steps[..., :3].unbind(-1)
    twist[..., 2, 1], twist[..., 0, 2], twist[..., 1, 0] = rx, ry, rz
    twist[..., :3, :3] = twist[..., :3, :3] - twist[..., :3, :3].mT
    world_from_cam = torch.linalg.matrix_exp(twist)
    world_from_cam[..., :3, 3] = steps[..., 3:]
    centre = torch.tensor([40.0, 42.0, WIDTH / 2, HEIGHT / 2], dtype=torch.float64)
    intrinsics = centre + draw(batch, frames, 4)
    return CameraBatch(
        world_from_cam=world_from_cam.to(dtype), intrinsics=intrinsics.to(dtype), width=WIDTH, height=HEIGHT
    )


def noisy_latent(batch: int, frames: int, size: tuple[int, int] = (2, 3), seed: int = 0) -> torch.Tensor:
    """(B, T, 6, h, w) float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, frames, 6, *size, generator=generator, dtype=torch.float64)


def sigmas(batch: int, frames: int, value: float = 0.7) -> torch.Tensor:
    """(B, T) float64: `value`, the first frame clean."""
    sigma = torch.full((batch, frames), value, dtype=torch.float64)
    sigma[:, 0] = 0
    return sigma
