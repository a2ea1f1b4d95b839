"""Clips of synthetic worlds with their truth: what `wmkit demo`, `wmkit bench` and tests are measured against."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from wmkit.camera import Array, Intrinsics, Trajectory
from wmkit.camera_paths import CameraPath, Crane, Drive, Orbit, SampledPath, SCurve, Walk
from wmkit.spread import evenly_spread
from wmkit.worlds.render import RenderedFrame, render, renderer_used
from wmkit.worlds.scene import World

__all__ = [
    "DEMO_CLIPS",
    "SMALL_CLIPS",
    "Hall",
    "LivingRoom",
    "PaintedRoom",
    "Scene",
    "SmallRoom",
    "Street",
    "WorldClip",
    "WrittenClip",
    "write_world",
]


class Scene(Protocol):
    """The recipe of a world: cheap to hold and to send, built only when it is drawn."""

    def build(self) -> World:
        """Paint the textures and place the geometry: a pure function of the recipe."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LivingRoom:
    """See `wmkit.worlds.rooms.living_room`."""

    seed: int = 0

    def build(self) -> World:
        """See `Scene.build`."""
        from wmkit.worlds.rooms import living_room

        return living_room(seed=self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hall:
    """See `wmkit.worlds.rooms.hall`."""

    seed: int = 0

    def build(self) -> World:
        """See `Scene.build`."""
        from wmkit.worlds.rooms import hall

        return hall(seed=self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Street:
    """See `wmkit.worlds.streets.street`."""

    seed: int = 0

    def build(self) -> World:
        """See `Scene.build`."""
        from wmkit.worlds.streets import street

        return street(seed=self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallRoom:
    """See `wmkit.worlds.rooms.small_room`: built and drawn in a fraction of a second, for unit tests."""

    seed: int = 0

    def build(self) -> World:
        """See `Scene.build`."""
        from wmkit.worlds.rooms import small_room

        return small_room(seed=self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaintedRoom:
    """See `wmkit.worlds.rooms.painted_room`: still told apart at 16 px, for training tiny models."""

    seed: int = 0

    def build(self) -> World:
        """See `Scene.build`."""
        from wmkit.worlds.rooms import painted_room

        return painted_room(seed=self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldClip:
    """A world filmed along a path.

    name         file name without suffix.
    scene        recipe of the world; its ground is y = 0.
    path         motion, placed at `position` (world metres; y is minus the height above ground) and `heading_deg`.
    intrinsics   the same for every frame; also the picture's size.
    frames, fps  length and rate.
    """

    name: str
    scene: Scene
    path: CameraPath
    position: tuple[float, float, float]
    intrinsics: Intrinsics
    frames: int
    fps: float = 16.0
    heading_deg: float = 0.0

    @property
    def sampled(self) -> SampledPath:
        """The true cameras."""
        return self.path.sample(self.frames, self.fps).placed(self.position, self.heading_deg)

    @property
    def trajectory(self) -> Trajectory:
        """The true cameras as a metric trajectory."""
        return self.sampled.trajectory()

    @property
    def camera_height_m(self) -> Array:
        """(N,) height of every camera above the ground plane, metres."""
        return -self.sampled.world_from_cam[:, 1, 3]

    def render(self, renderer: str = "auto") -> Iterator[RenderedFrame]:
        """Every frame in order, with exact depth; see `wmkit.worlds.render.render`."""
        return render(self.scene.build(), self.intrinsics, self.sampled.world_from_cam, renderer)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenClip:
    """What `write_world` left on disk.

    video     the clip.
    poses     its cameras in poses.json form: metric, K with pixel centres at (0.5, 0.5), `file` = frame name.
    depth     npz of a few frames: frame (K,) int64, z (K, h, w) float32 metres, valid (K, h, w) bool.
    facts     JSON: camera height above ground of every frame, renderer, frame rate.
    renderer  `gl` or `numpy`.
    """

    video: Path
    poses: Path
    depth: Path
    facts: Path
    renderer: str


DEMO_CLIPS: tuple[WorldClip, ...] = (
    WorldClip(
        name="room_orbit",
        scene=LivingRoom(),
        path=Orbit(radius_m=2.7, arc_deg=-50.0, rise_m=0.15, target_drop_m=0.75),
        position=(0.75, -1.5, -0.45),
        intrinsics=Intrinsics.from_fov(66.0, 640, 360),
        frames=56,
    ),
    WorldClip(
        name="street_drive",
        scene=Street(seed=1),
        path=Drive(speed_m_s=5.0, sway_m=0.25, period_s=5.0),
        position=(0.5, -1.6, 0.0),
        intrinsics=Intrinsics.from_fov(72.0, 640, 360),
        frames=56,
    ),
    WorldClip(
        name="hall_walk",
        scene=Hall(),
        path=Walk(speed_m_s=1.0, sway_m=0.25),
        position=(-0.1, -1.62, -0.9),
        intrinsics=Intrinsics.from_fov(78.0, 640, 360),
        frames=56,
    ),
    WorldClip(
        name="street_crane",
        scene=Street(seed=2),
        path=Crane(rise_m=3.2, forward_m=3.5, tilt_deg=12.0, pan_deg=24.0),
        position=(-0.6, -1.7, 18.0),
        intrinsics=Intrinsics.from_fov(60.0, 640, 360),
        frames=56,
    ),
)
"""Four short clips, each of another motion, field of view and world."""

SMALL_CLIPS: tuple[WorldClip, ...] = (
    WorldClip(
        name="small_orbit",
        scene=SmallRoom(),
        path=Orbit(radius_m=2.2, arc_deg=25.0, target_drop_m=0.4),
        position=(0.0, -1.3, -0.6),
        intrinsics=Intrinsics.from_fov(70.0, 160, 96),
        frames=12,
    ),
    WorldClip(
        name="small_walk",
        scene=SmallRoom(seed=1),
        path=SCurve(speed_m_s=1.2, sway_m=0.01),
        position=(0.0, -1.4, -1.2),
        intrinsics=Intrinsics.from_fov(60.0, 160, 96),
        frames=12,
    ),
)
"""Tiny clips for unit tests."""

TRUTH_DEPTH_FRAMES = 4


def write_world(clip: WorldClip, folder: Path, truth: Path | None = None, renderer: str = "auto") -> WrittenClip:
    """Render a clip to `folder/<name>.mp4` and its truth to `truth` (`folder/truth` by default), apart from the clip.

    The truth is `<name>.poses.json`, `<name>.depth.npz` (four frames spread over the clip) and `<name>.facts.json`.
    Folders are made. Raises InputError when the renderer is unknown or unavailable.
    """
    from wmkit.formats.poses_json import write_poses_json
    from wmkit.formats.track import CameraTrack
    from wmkit.video.encode import write_mp4

    used = renderer_used(renderer)
    truth = folder / "truth" if truth is None else truth
    folder.mkdir(parents=True, exist_ok=True)
    truth.mkdir(parents=True, exist_ok=True)
    written = WrittenClip(
        video=folder / f"{clip.name}.mp4",
        poses=truth / f"{clip.name}.poses.json",
        depth=truth / f"{clip.name}.depth.npz",
        facts=truth / f"{clip.name}.facts.json",
        renderer=used,
    )
    kept = evenly_spread(clip.frames, TRUTH_DEPTH_FRAMES)
    depths: list[RenderedFrame] = []

    def pictures() -> Iterator[np.ndarray]:
        for index, frame in enumerate(clip.render(used)):
            if index in kept:
                depths.append(frame)
            yield frame.rgb

    write_mp4(written.video, pictures(), clip.fps, (clip.intrinsics.width, clip.intrinsics.height))
    path = clip.sampled
    track = CameraTrack(
        world_from_cam=path.world_from_cam,
        time_s=path.time_s,
        intrinsics_px=np.tile(clip.intrinsics.row, (clip.frames, 1)),
        names=tuple(f"{index:06d}" for index in range(clip.frames)),
        metric=True,
    )
    write_poses_json(track, written.poses)
    z, valid = np.stack([frame.z for frame in depths]), np.stack([frame.valid for frame in depths])
    np.savez(written.depth, frame=kept, z=z, valid=valid)
    facts = {"camera_height_m": clip.camera_height_m.tolist(), "fps": clip.fps, "renderer": used}
    written.facts.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return written
