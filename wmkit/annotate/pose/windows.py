"""Long clips: keyframes mapped window by window and joined, so that cost and memory grow with length and no faster.

Every window is mapped like a short clip and begins with the camera of the one before. Neighbours are joined by a
similarity at the keyframes they share, revisits by a small window of its own around either visit; where there are
revisits, the similarities of all windows are balanced. What cannot be joined is left out: the largest part stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from wmkit.annotate.pose.graph import Edge, placed
from wmkit.annotate.pose.links import Pair
from wmkit.annotate.pose.mapping import MappingConfig, Model, Start, map_keyframes
from wmkit.annotate.pose.scene import Indices, Scene, scene_from_model
from wmkit.annotate.pose.seams import Seam, SeamConfig, Similarity, align, mean_rotation
from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import Array, invert_rigid

__all__ = ["Anchor", "Chain", "WindowConfig", "cut", "map_chain", "pairs_within"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowConfig:
    """How a long clip is cut.

    longest      keyframes mapped and adjusted in one piece.
    size         keyframes of a window of a longer clip; neighbours share at least `overlap`.
    reach        keyframes around either end of a revisit that make the window which ties it.
    most_loops   revisits tied that way.
    observations a keyframe has, where the points allow it, in the adjustment of all keyframes together.
    """

    longest: int = 80
    size: int = 60
    overlap: int = 12
    reach: int = 8
    most_loops: int = 4
    observations: int = 120
    seam: SeamConfig = SeamConfig()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chain:
    """Windows joined.

    scene     every observation; keyframes and points of the joined windows.
    seams     one a joint of neighbours, in the order of the clip.
    loops     one a tie between two visits of a place.
    focal     px, median of every joined window.
    disjoint  every window was mapped from the even tracks alone.
    """

    scene: Scene
    seams: tuple[Seam, ...]
    loops: tuple[Seam, ...]
    focal: tuple[float, ...]
    disjoint: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Anchor:
    """A window mapped before the others.

    window    its number.
    scene     of the same observations as the others will have.
    disjoint  mapped from the even tracks alone.
    """

    window: int
    scene: Scene
    disjoint: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Window:
    frames: tuple[int, ...]
    scene: Scene
    disjoint: bool


def cut(count: int, config: WindowConfig) -> tuple[range, ...]:
    """Keyframe numbers of every window; one window when there are at most `longest`."""
    if count <= config.longest:
        return (range(count),)
    number = -(-(count - config.overlap) // (config.size - config.overlap))
    starts = np.linspace(0, count - config.size, number).round().astype(int).tolist()
    return tuple(range(start, start + config.size) for start in starts)


def pairs_within(linked: Sequence[Pair], frames: Sequence[int]) -> tuple[Pair, ...]:
    """The pairs both of whose frames are among `frames`."""
    inside = set(frames)
    return tuple((i, j) for i, j in linked if i in inside and j in inside)


class _Mapper:
    """Maps sets of keyframes of one clip, each beginning with the camera that the last good one found."""

    def __init__(
        self, tracks: Tracks, linked: tuple[Pair, ...], start: Start, mapping: MappingConfig, halves: bool
    ) -> None:
        self.tracks, self.linked, self.start, self.mapping = tracks, linked, start, mapping
        self.sources = (tracks.half(0), tracks) if halves else (tracks,)
        self.params = start.params
        self.shared: Scene | None = None

    def map(self, frames: tuple[int, ...]) -> _Window | None:
        """The model of the first tracks that register most of the frames, else of those that register more."""
        return self._map(frames, self.sources, self.params)

    def map_visit(self, frames: tuple[int, ...]) -> _Window | None:
        """The same for a window made to tie two others: most do not hold, and one attempt is enough to see that."""
        return self._map(frames, self.sources[:1], self.params[:1])

    def _map(self, frames: tuple[int, ...], sources: Sequence[Tracks], params: tuple) -> _Window | None:
        best: Model | None = None
        window: _Window | None = None
        start = replace(self.start, params=params)
        for number, source in enumerate(sources):
            model = map_keyframes(source, frames, pairs_within(self.linked, frames), start, self.mapping)
            if model is None or (best is not None and model.rank(self.mapping) <= best.rank(self.mapping)):
                continue
            centre = np.array(self.start.params[0][-2:])
            scene = scene_from_model(self.tracks, model.model, source, centre)
            scene = self.own(replace(scene, focal_prior=start.focal_prior))
            best, window = model, _Window(frames=frames, scene=scene, disjoint=number == 0 and len(self.sources) > 1)
            if model.holds(self.mapping):
                self.begin_with(scene)
                break
        return window

    def begin_with(self, scene: Scene) -> None:
        """Later windows try this scene's focal length first."""
        if not self.start.fixed:
            found = (_focal_px(scene), *self.start.params[0][1:])
            self.params = (found, *self.start.params)

    def own(self, scene: Scene) -> Scene:
        """The scene with the observations that all windows share: once in memory."""
        if self.shared is None:
            self.shared = scene
        shared = self.shared
        return replace(scene, obs_frame=shared.obs_frame, obs_track=shared.obs_track, obs_xy=shared.obs_xy)


def map_chain(
    tracks: Tracks,
    keyframes: tuple[int, ...],
    linked: tuple[Pair, ...],
    start: Start,
    mapping: MappingConfig,
    config: WindowConfig,
    *,
    halves: bool = False,
    anchor: Anchor | None = None,
) -> Chain | None:
    """Map `keyframes` window by window and join the windows; None when none holds. `start` is a SIMPLE_PINHOLE.

    With `halves` the even tracks are tried before all of them.
    """
    mapper = _Mapper(tracks, linked, start, mapping, halves)
    windows: list[_Window] = []
    if anchor is not None:
        mapper.begin_with(anchor.scene)
    for number, numbers in enumerate(cut(len(keyframes), config)):
        frames = tuple(keyframes[k] for k in numbers)
        if anchor is not None and number == anchor.window:
            window = _Window(frames=frames, scene=mapper.own(anchor.scene), disjoint=anchor.disjoint)
        else:
            window = mapper.map(frames)
        if window is not None:
            windows.append(window)
    if not windows:
        return None
    edges = _neighbours(windows, config.seam)
    ties = _loops(mapper, keyframes, windows, config)
    world_from = placed([int(window.scene.posed.sum()) for window in windows], [*edges, *ties])
    inside = [k for k, place in enumerate(world_from) if place is not None]
    return Chain(
        scene=_merged([(windows[k], place) for k, place in enumerate(world_from) if place is not None]),
        seams=tuple(edge.seam for edge in edges if edge.a in inside),
        loops=tuple(edge.seam for edge in ties if edge.a in inside),
        focal=tuple(_focal_px(windows[k].scene) for k in inside),
        disjoint=all(windows[k].disjoint for k in inside),
    )


def _neighbours(windows: list[_Window], config: SeamConfig) -> list[Edge]:
    """What ties each window to the one before it that it shares keyframes with."""
    edges = []
    for b in range(1, len(windows)):
        found = align(windows[b - 1].scene, windows[b].scene, config)
        if found is not None:
            edges.append(Edge(a=b - 1, b=b, a_from_b=found[0], seam=found[1], unit=found[2]))
    return edges


def _loops(mapper: _Mapper, keyframes: tuple[int, ...], windows: list[_Window], config: WindowConfig) -> list[Edge]:
    """What ties two windows that show one place: a window around both visits, aligned to either."""
    number = {frame: k for k, frame in enumerate(keyframes)}
    apart = [
        (number[i], number[j])
        for i, j in mapper.linked
        if i in number and j in number and not any({i, j} <= set(window.frames) for window in windows)
    ]
    edges, tied = [], []
    for p, q in apart:
        if len(tied) == config.most_loops or any(max(abs(p - i), abs(q - j)) <= config.reach for i, j in tied):
            continue
        tied.append((p, q))
        around = {k for at in (p, q) for k in range(at - config.reach, at + config.reach + 1)}
        visit = mapper.map_visit(tuple(keyframes[k] for k in sorted(around) if 0 <= k < len(keyframes)))
        if visit is None:
            continue
        a, b = (_holding(windows, keyframes[k], visit.scene) for k in (p, q))
        if a is None or b is None or a == b:
            continue
        to_a, to_b = (align(windows[k].scene, visit.scene, config.seam) for k in (a, b))
        if to_a is not None and to_b is not None:
            worse = Seam(
                frames=min(to_a[1].frames, to_b[1].frames),
                rotation_deg=max(to_a[1].rotation_deg, to_b[1].rotation_deg),
                position=max(to_a[1].position, to_b[1].position),
            )
            edges.append(Edge(a=a, b=b, a_from_b=to_a[0].after(to_b[0].inverse()), seam=worse, unit=to_a[2]))
    return edges


def _holding(windows: list[_Window], frame: int, visit: Scene) -> int | None:
    """The window around `frame` that shares most posed frames with the visit."""
    shared = [int((window.scene.posed & visit.posed).sum()) if frame in window.frames else 0 for window in windows]
    best = int(np.argmax(shared))
    return best if shared[best] else None


def _merged(placed_windows: list[tuple[_Window, Similarity]]) -> Scene:
    """One scene: where windows overlap, poses fade from one into the next; points are the mean of what they say."""
    first = placed_windows[0][0].scene
    count = len(first.cam_from_world)
    weight, centre, turns = np.zeros(count), np.zeros((count, 3)), np.zeros((count, 3, 3))
    log_focal = np.zeros(count)
    xyz, seen = np.zeros_like(first.xyz), np.zeros(len(first.xyz))
    for window, world_from in placed_windows:
        at = np.flatnonzero(window.scene.posed)
        world_from_cam = invert_rigid(world_from.cameras(window.scene.cam_from_world[at]))
        inner = _depth_inside(window.frames, at)
        weight[at] += inner
        log_focal[at] += inner * np.log(window.scene.focal[at])
        centre[at] += inner[:, None] * world_from_cam[:, :3, 3]
        turns[at] += inner[:, None, None] * world_from_cam[:, :3, :3]
        known = np.isfinite(window.scene.xyz[:, 0])
        xyz[known] += world_from.points(window.scene.xyz[known])
        seen[known] += 1
    poses = np.full((count, 4, 4), np.nan)
    for at in np.flatnonzero(weight).tolist():
        poses[at] = np.eye(4)
        poses[at, :3, :3] = mean_rotation(turns[at][None], np.ones(1))
        poses[at, :3, 3] = centre[at] / weight[at]
    posed = np.flatnonzero(weight)
    zooms = any(window.scene.zooms for window, _ in placed_windows)
    focal = np.full(count, float(np.median([_focal_px(window.scene) for window, _ in placed_windows])))
    if zooms:
        focal = np.exp(np.interp(np.arange(count), posed, log_focal[posed] / weight[posed]))
    return replace(
        first,
        cam_from_world=invert_rigid(poses),
        xyz=np.where(seen[:, None] > 0, xyz / np.maximum(seen, 1)[:, None], np.nan),
        focal=focal,
        zooms=zooms,
    )


def _focal_px(scene: Scene) -> float:
    return float(np.median(scene.focal[scene.posed]))


def _depth_inside(frames: tuple[int, ...], posed: Indices) -> Array:
    """How far inside its window each frame lies, counted in keyframes from the nearer end, from 1."""
    place = np.searchsorted(frames, posed)
    return np.minimum(place + 1, len(frames) - place).astype(np.float64)
