"""Every camera branch, and one from outside the package, on the same model."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from tests.unit.model.tiny import (
    STRIDE,
    moving_cameras,
    noisy_latent,
    open_last_layer,
    sigmas,
    stirred,
    tiny_config,
    tiny_model,
)
from wmkit.errors import ConfigError
from wmkit.model import CameraBatch, ModelConfig
from wmkit.model.camera_branches import ATTENTION_BRANCHES, CAMERA_CHOICES, MAP_BRANCHES, TokenMaps
from wmkit.model.camera_branches.prope import PropeConfig, normalised_projection
from wmkit.model.rays import LatentGrid, relative_to_first
from wmkit.model.rope import rope_angles

B, T = 2, 3
FRAMES = 1 + STRIDE * (T - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationAttention:
    """From outside: attention in camera axes, translation and rays ignored."""

    def token_maps(self, cameras: CameraBatch, grid: LatentGrid, head_dim: int, theta: float) -> TokenMaps:
        grid.check(cameras)
        maps = torch.zeros_like(cameras.world_from_cam[:, :: grid.stride])
        maps[..., :3, :3] = relative_to_first(cameras.world_from_cam)[:, :: grid.stride, :3, :3].mT
        maps[..., 3, 3] = 1.0
        cells = grid.rows * grid.columns
        maps = maps[:, :, None].expand(-1, -1, cells, -1, -1)
        return TokenMaps(
            query=maps.mT, key=maps.mT, output=maps, angles=rope_angles(grid, head_dim, theta, keep=head_dim // 2)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginMap:
    """From outside: where the camera of each latent frame is."""

    def channels(self, stride: int) -> int:
        return 3

    def camera_map(self, cameras: CameraBatch, grid: LatentGrid) -> torch.Tensor:
        grid.check(cameras)
        origin = relative_to_first(cameras.world_from_cam)[:, :: grid.stride, :3, 3, None, None]
        return origin.expand(-1, -1, -1, grid.rows, grid.columns)


ATTENTION = [*[kind() for kind in ATTENTION_BRANCHES.values()], RotationAttention()]
MAPS = [*[kind() for kind in MAP_BRANCHES.values()], OriginMap()]
CHOICES: list[dict[str, Any]] = [{"camera_attention": part, "camera_map": None} for part in ATTENTION]
CHOICES += [{"camera_attention": None, "camera_map": part} for part in MAPS]
NAMES = [type(part).__name__ for part in ATTENTION + MAPS]
CHOICES.append(dict(zip(("camera_attention", "camera_map"), CAMERA_CHOICES["both"], strict=True)))
NAMES.append("both")


@pytest.mark.parametrize("choice", CHOICES, ids=NAMES)
def test_branch_adds_nothing_at_step_zero(choice: dict[str, Any]) -> None:
    """The paper's promise: a camera-free checkpoint goes on as it was."""
    with_branch = open_last_layer(tiny_model(**choice))
    without = open_last_layer(tiny_model(camera_attention=None, camera_map=None))
    shared = {name: tensor for name, tensor in with_branch.state_dict().items() if name in without.state_dict()}
    without.load_state_dict(shared)
    assert len(shared) < len(with_branch.state_dict())
    latent, cameras = noisy_latent(B, T), moving_cameras(B, FRAMES)
    with torch.no_grad():
        want, got = (model(latent, sigmas(B, T), cameras) for model in (without, with_branch))
    assert want.abs().max() > 0.1
    assert torch.equal(got, want)


@pytest.mark.parametrize("choice", CHOICES, ids=NAMES)
def test_first_step_moves_the_branch(choice: dict[str, Any]) -> None:
    """Exactly one factor is zero: its gradient is not."""
    model = open_last_layer(tiny_model(**choice))
    model(noisy_latent(B, T), sigmas(B, T), moving_cameras(B, FRAMES))[:, 1:].square().mean().backward()
    zero = [
        (n, p)
        for n, p in model.named_parameters()
        if n.endswith(("out_proj_cam.weight", "plucker_embedder.proj.weight"))
    ]
    assert zero
    for name, parameter in zero:
        assert not parameter.any(), name
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("choice", CHOICES, ids=NAMES)
def test_trained_branch_obeys_the_cameras(choice: dict[str, Any]) -> None:
    model = stirred(tiny_model(**choice))
    latent = noisy_latent(B, T)
    with torch.no_grad():
        one, same, other = (model(latent, sigmas(B, T), moving_cameras(B, FRAMES, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert one.isfinite().all()
    assert (one - other)[:, 1:].abs().max() > 1e-4


@pytest.mark.parametrize("choice", CHOICES, ids=NAMES)
def test_frames_that_do_not_fit_are_named(choice: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"expected {FRAMES} video frames"):
        tiny_model(**choice)(noisy_latent(B, T), sigmas(B, T), moving_cameras(B, FRAMES - 1))


@pytest.mark.parametrize("part", ATTENTION, ids=lambda part: type(part).__name__)
def test_reading_back_the_own_token_is_the_identity(part: object) -> None:
    """Output map after key map, at one token: values come home, whatever the camera."""
    grid = LatentGrid(frames=T, rows=2, columns=3, stride=STRIDE)
    maps = part.token_maps(moving_cameras(B, FRAMES), grid, 16, 10_000.0)  # type: ignore[attr-defined]
    value = torch.randn(B, 2, T, 6, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(maps.on_output(maps.on_key(value)), value)
    score = (maps.on_query(value) * maps.on_key(value)).sum(-1)
    torch.testing.assert_close(score, value.square().sum(-1))


def test_named_branches_survive_json_and_others_say_so() -> None:
    for choice in CHOICES:
        config = tiny_config(**choice)
        if {type(part) for part in choice.values()} & {RotationAttention, OriginMap}:
            with pytest.raises(ConfigError, match="has no name in JSON"):
                config.to_dict()
        else:
            assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("part", ATTENTION, ids=lambda part: type(part).__name__)
def test_scores_see_relative_cameras_alone(part: object) -> None:
    """Another world, the same cameras: every score and what is read stay."""
    grid = LatentGrid(frames=T, rows=2, columns=3, stride=STRIDE)
    cameras = moving_cameras(B, FRAMES)
    # Not relative to the first frame on purpose: the branch itself must cancel the world.
    moved = CameraBatch(
        world_from_cam=moving_cameras(B, 1, seed=5).world_from_cam @ cameras.world_from_cam,
        intrinsics=cameras.intrinsics,
        width=cameras.width,
        height=cameras.height,
    )
    q, k = torch.randn(2, B, 2, T, 6, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def scores(batch: CameraBatch) -> torch.Tensor:
        maps = part.token_maps(batch, grid, 16, 10_000.0)  # type: ignore[attr-defined]
        return maps.on_query(q).flatten(2, 3) @ maps.on_key(k).flatten(2, 3).mT

    torch.testing.assert_close(scores(moved), scores(cameras))
    assert (scores(cameras) - q.flatten(2, 3) @ k.flatten(2, 3).mT).abs().max() > 1


def test_the_papers_ablations_are_all_there() -> None:
    """Table 4: none, Plücker, PRoPE, UCPE, UCPE and Plücker; each builds, and only what it names has weights."""
    assert list(CAMERA_CHOICES) == ["none", "plucker", "prope", "ucpe", "both"]
    counts = {}
    for name, (attention, camera_map) in CAMERA_CHOICES.items():
        model = tiny_model(camera_attention=attention, camera_map=camera_map)
        counts[name] = sum(parameter.numel() for parameter in model.parameters())
    assert counts["none"] < counts["plucker"] < counts["ucpe"] == counts["prope"] < counts["both"]
    assert counts["both"] - counts["ucpe"] == counts["plucker"] - counts["none"]


def test_prope_is_the_cameras_projection() -> None:
    """A point seen by two cameras: P_i takes it to its place in picture i, from -0.5 to 0.5 across."""
    cameras = moving_cameras(1, FRAMES)
    grid = LatentGrid(frames=T, rows=2, columns=3, stride=STRIDE)
    maps = PropeConfig().token_maps(cameras, grid, 16, 10_000.0)
    world_from_cam = relative_to_first(cameras.world_from_cam)[:, ::STRIDE]
    point = torch.tensor([0.3, -0.2, 4.0, 1.0], dtype=torch.float64)
    for t in range(T):
        in_camera = torch.linalg.inv(world_from_cam[0, t]) @ point
        fx, fy, cx, cy = cameras.intrinsics[0, t * STRIDE]
        want = torch.stack(
            [
                (fx * in_camera[0] / in_camera[2] + cx) / cameras.width - 0.5,
                (fy * in_camera[1] / in_camera[2] + cy) / cameras.height - 0.5,
            ]
        )
        projected = maps.output[0, t, 3] @ point
        torch.testing.assert_close(projected[:2] / projected[2], want)
        torch.testing.assert_close(maps.key[0, t, 1] @ projected, point)
    lifted, unlifted = normalised_projection(cameras.intrinsics, (cameras.width, cameras.height))
    torch.testing.assert_close(lifted @ unlifted, torch.eye(4, dtype=torch.float64).expand_as(lifted))
    # Twice the pixels is the same camera.
    torch.testing.assert_close(
        normalised_projection(2 * cameras.intrinsics, (2 * cameras.width, 2 * cameras.height))[0], lifted
    )
