"""Cameras as the model sees them: rays, ray frames, Plücker maps and rotary angles. The one place that packs them.

Pixel (0, 0) covers [0, 1)², so the ray of latent cell (row, column) goes through the middle of the pixels it covers.
A latent frame t > 0 covers video frames stride*(t-1)+1 .. stride*t; its camera is the last of them. Latent frame 0
covers video frame 0 alone. Poses are taken relative to video frame 0, so the world axes of the input do not matter.

`compat="sana-wm"` packs as the released model was trained instead (sheet `sana-wm.md` 3.1; public files
`sana_camctrl_blocks.py` and `inference_sana_wm.py`): rays go through the upper left corner of a latent cell, half a
cell off its middle, and the Plücker map of latent frame 0 sees video frames 0 .. stride-1, which are future cameras.
Shapes: B batch, F video frames, T latent frames, h w latent rows and columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as nnf

from wmkit.camera import Intrinsics, Trajectory
from wmkit.errors import ConfigError, InputError

__all__ = [
    "CameraBatch",
    "Compat",
    "LatentGrid",
    "invert_rigid",
    "plucker_map",
    "ray_directions",
    "ray_from_world",
    "relative_to_first",
]

Compat = Literal["none", "sana-wm"]  # whose packing of cameras and timesteps: ours, or the released model's


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CameraBatch:
    """Cameras of B clips of F video frames.

    world_from_cam  (B, F, 4, 4), OpenCV axes; metres, or median depths of an up-to-scale clip.
    intrinsics      (B, F, 4) fx fy cx cy in px of the width x height frames.

    Raises InputError when shapes disagree, a number is not finite, or a focal length or size is not positive.
    """

    world_from_cam: Float[Tensor, "B F 4 4"]
    intrinsics: Float[Tensor, "B F 4"]
    width: int
    height: int

    def __post_init__(self) -> None:
        poses, rows = tuple(self.world_from_cam.shape), tuple(self.intrinsics.shape)
        if len(poses) != 4 or poses[2:] != (4, 4) or rows != (*poses[:2], 4) or 0 in poses:
            raise InputError(
                f"cameras: expected world_from_cam (B, F, 4, 4) and intrinsics (B, F, 4), got {poses}, {rows}"
            )
        if self.world_from_cam.is_meta:  # shapes alone: there are no values to look at
            return
        if not (torch.isfinite(self.world_from_cam).all() and torch.isfinite(self.intrinsics).all()):
            raise InputError("cameras: expected finite numbers; crop to frames that have a camera")
        if self.width <= 0 or self.height <= 0 or not (self.intrinsics[..., :2] > 0).all():
            raise InputError(f"cameras: expected positive focal lengths and size, got size {self.width}x{self.height}")

    @classmethod
    def from_trajectories(
        cls, clips: Sequence[tuple[Trajectory, Sequence[Intrinsics]]], dtype: torch.dtype = torch.float32
    ) -> "CameraBatch":
        """Cameras of clips of one length and size: a trajectory and one `Intrinsics` a frame, each.

        Raises InputError for no clip, frames without a pose, and clips that differ in length or size.
        """
        sizes = {(row.width, row.height) for _, rows in clips for row in rows}
        lengths = {len(trajectory.time_s) for trajectory, _ in clips} | {len(rows) for _, rows in clips}
        if len(sizes) != 1 or len(lengths) != 1:
            raise InputError(
                f"cameras: expected clips of one length and one frame size, got lengths {sorted(lengths)} and sizes "
                f"{sorted(sizes)}"
            )
        unposed = sum(int((~trajectory.posed).sum()) for trajectory, _ in clips)
        if unposed:
            raise InputError(f"cameras: expected a pose in every frame, got {unposed} without; crop to posed frames")
        ((width, height),) = sizes
        # Relative in float64, before float32 rounds positions far from the world's origin.
        poses = torch.from_numpy(np.stack([trajectory.world_from_cam for trajectory, _ in clips]))
        rows = np.stack([[row.row for row in rows] for _, rows in clips])
        return cls(
            world_from_cam=relative_to_first(poses).to(dtype),
            intrinsics=torch.from_numpy(rows).to(dtype),
            width=width,
            height=height,
        )

    @property
    def frames(self) -> int:
        """Number of video frames."""
        return self.world_from_cam.shape[1]

    def until(self, frames: int) -> "CameraBatch":
        """The cameras of the first `frames` video frames."""
        return replace(self, world_from_cam=self.world_from_cam[:, :frames], intrinsics=self.intrinsics[:, :frames])

    def first_and_from(self, frame: int) -> "CameraBatch":
        """The first camera, and those from video frame `frame` on."""
        poses, rows = self.world_from_cam, self.intrinsics
        return replace(
            self,
            world_from_cam=torch.cat([poses[:, :1], poses[:, frame:]], dim=1),
            intrinsics=torch.cat([rows[:, :1], rows[:, frame:]], dim=1),
        )

    def to(self, device: torch.device | str) -> "CameraBatch":
        """The same cameras on another device."""
        return CameraBatch(
            world_from_cam=self.world_from_cam.to(device),
            intrinsics=self.intrinsics.to(device),
            width=self.width,
            height=self.height,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentGrid:
    """Size of a latent: `frames` T x `rows` h x `columns` w; a latent frame covers `stride` video frames.

    compat   how cameras are packed for it, see the module.
    skipped  latent frames between the first and the second that are left out, with their cameras; the others keep
             their place in time.
    """

    frames: int
    rows: int
    columns: int
    stride: int
    compat: Compat = "none"
    skipped: int = 0

    @property
    def video_frames(self) -> int:
        """F = 1 + stride (T - 1)."""
        return 1 + self.stride * (self.frames - 1)

    def check(self, cameras: CameraBatch) -> None:
        """Raise ConfigError unless `cameras` has one camera for each video frame of this grid."""
        if cameras.frames != self.video_frames:
            raise ConfigError(
                f"cameras: expected {self.video_frames} video frames for {self.frames} latent frames of stride "
                f"{self.stride}, got {cameras.frames}"
            )


def relative_to_first(world_from_cam: Float[Tensor, "B F 4 4"]) -> Float[Tensor, "B F 4 4"]:
    """first_from_cam = first_from_world @ world_from_cam: the first camera becomes the origin, exactly."""
    first_from_world = invert_rigid(world_from_cam[:, :1])
    relative = first_from_world @ world_from_cam
    eye = torch.eye(4, dtype=relative.dtype, device=relative.device).expand(relative.shape[0], 1, 4, 4)
    return torch.cat([eye, relative[:, 1:]], dim=1)


def ray_directions(
    intrinsics: Float[Tensor, "B F 4"], size_px: tuple[int, int], cells: tuple[int, int], compat: Compat = "none"
) -> Float[Tensor, "B F h w 3"]:
    """Unit ray directions in camera axes through the middle of each of `cells` = (rows, columns).

    `size_px` is (width, height) of the frames that `intrinsics` belong to. `compat="sana-wm"`: through the upper
    left corner of each cell.
    """
    middle = 0.5 if compat == "none" else 0.0
    (width, height), (rows, columns) = size_px, cells
    options = {"dtype": intrinsics.dtype, "device": intrinsics.device}
    u_px = (torch.arange(columns, **options) + middle) * (width / columns)
    v_px = (torch.arange(rows, **options) + middle) * (height / rows)
    fx, fy, cx, cy = intrinsics[..., None, None].unbind(2)
    x, y = torch.broadcast_tensors((u_px - cx) / fx, (v_px[:, None] - cy) / fy)
    return nnf.normalize(torch.stack([x, y, torch.ones_like(x)], dim=-1), dim=-1)


def ray_from_world(cameras: CameraBatch, grid: LatentGrid) -> Float[Tensor, "B T h w 4 4"]:
    """D of UCPE (arXiv 2605.15178 section 3; `sana-wm.md` 3.2): world to the frame of each latent cell's own ray.

    The ray frame has z along the ray, x = camera's y axis x z, y = z x x, and its origin in the camera centre.
    """
    grid.check(cameras)
    step = slice(None, None, grid.stride)
    world_from_cam = relative_to_first(cameras.world_from_cam)[:, step]
    size_px = (cameras.width, cameras.height)
    z_cam = ray_directions(cameras.intrinsics[:, step], size_px, (grid.rows, grid.columns), grid.compat)
    rotation = world_from_cam[:, :, None, None, :3, :3]
    z = (rotation @ z_cam[..., None])[..., 0]
    x = nnf.normalize(torch.linalg.cross(rotation[..., 1].expand_as(z), z), dim=-1)
    world_from_ray = z.new_zeros(*z.shape[:-1], 4, 4)
    world_from_ray[..., :3, :3] = torch.stack([x, torch.linalg.cross(z, x), z], dim=-1)
    world_from_ray[..., :3, 3] = world_from_cam[:, :, None, None, :3, 3]
    world_from_ray[..., 3, 3] = 1.0
    return invert_rigid(world_from_ray)


def plucker_map(cameras: CameraBatch, grid: LatentGrid) -> Float[Tensor, "B T c h w"]:
    """Plücker coordinates (d, o x d) of every video frame a latent frame covers: c = 6 stride, frame-major.

    d is the unit ray in the first camera's axes, o its origin. Latent frame 0 repeats video frame 0; it never sees
    a later camera. `compat="sana-wm"`: latent frame 0 sees video frames 0 .. stride-1 (the last one repeated where
    there are fewer).
    """
    grid.check(cameras)
    first_from_cam = relative_to_first(cameras.world_from_cam)
    size_px = (cameras.width, cameras.height)
    d_cam = ray_directions(cameras.intrinsics, size_px, (grid.rows, grid.columns), grid.compat)
    d = (first_from_cam[:, :, None, None, :3, :3] @ d_cam[..., None])[..., 0]
    o = first_from_cam[:, :, None, None, :3, 3].expand_as(d)
    coordinates = torch.cat([d, torch.linalg.cross(o, d)], dim=-1)
    frame_TS = torch.arange(grid.frames)[:, None] * grid.stride + torch.arange(grid.stride) - (grid.stride - 1)
    if grid.compat == "sana-wm":
        frame_TS[0] = torch.arange(grid.stride)
    by_latent = coordinates[:, frame_TS.clamp(0, cameras.frames - 1)]
    return by_latent.permute(0, 1, 2, 5, 3, 4).flatten(2, 3)


def invert_rigid(b_from_a: Float[Tensor, "*lead 4 4"]) -> Float[Tensor, "*lead 4 4"]:
    """a_from_b of rigid transforms, by transposition: no matrix solve."""
    rotation_t = b_from_a[..., :3, :3].mT
    top = torch.cat([rotation_t, -(rotation_t @ b_from_a[..., :3, 3:])], dim=-1)
    return torch.cat([top, b_from_a[..., 3:, :]], dim=-2)
