"""Random situations for each scale cue, with a known scale: the cue's own code votes on each.

Every draw makes what the cue reads in metres, spoils it as its sensor would be spoiled, divides by a random number of
metres a unit, and asks the cue. What a user states (a height, a length) is drawn around the truth by the sigma that
is stated with it.
"""

from collections.abc import Callable

import numpy as np

from wmkit.annotate.protocols import Unmeasured
from wmkit.annotate.scale import BaselineConfig, CameraHeightConfig, GivenPosesConfig, ObjectLengthConfig
from wmkit.annotate.scale.baseline import Baseline
from wmkit.annotate.scale.depth_network import factor_of_frame, vote_of_factors
from wmkit.annotate.scale.gps import gps_vote
from wmkit.annotate.scale.object_length import Click
from wmkit.camera import Array, Intrinsics, ScaleKind, ScaleVote, Trajectory
from wmkit.clip import Annotation, Clip, Points, Provenance, SourceView
from wmkit.telemetry import GpsTrack
from wmkit.video.frames import ClipFile

__all__ = ["DRAWS", "Draw"]

Draw = tuple[float, ScaleVote | Unmeasured]  # true metres a unit, and what the cue says

FILE = ClipFile(path="/nowhere", name="draw", content_hash="0" * 64, clip_id="0" * 32)
CAMERA = Intrinsics.from_fov(65.0, 960, 540)
NETWORK_BIAS_LOG = 0.15


def _unit(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(0.2), np.log(50))))


def _gps(rng: np.random.Generator) -> Draw:
    """A walk, ride or drive of 8 to 40 s that turns and changes pace; a receiver that drifts, lags and jumps."""
    unit, seconds = _unit(rng), rng.uniform(8, 40)
    time_s = np.arange(-3, seconds + 3, 0.1)  # the receiver, which lags, was on its way before the clip began
    speed = np.exp(rng.uniform(np.log(1.0), np.log(15))) * np.clip(1 + 0.3 * _smooth(rng, time_s, 5.0), 0.05, None)
    heading = rng.uniform(0, 2 * np.pi) + rng.uniform(0, 0.8) * _smooth(rng, time_s, 8.0)
    climb = 0.03 * _smooth(rng, time_s, 10.0)
    velocity = speed[:, None] * np.stack([np.cos(heading), np.sin(heading), climb], axis=1)
    true = np.cumsum(velocity, axis=0) * 0.1
    filmed = (time_s > -0.05) & (time_s < seconds)
    track = _receiver(rng, time_s, true, seconds)
    true, time_s = true[filmed], time_s[filmed]
    steps = np.linalg.norm(np.diff(true, axis=0, prepend=true[:1]), axis=1)
    drift = 0.01 * np.sqrt(steps.sum()) * np.cumsum(np.sqrt(steps)[:, None] * rng.standard_normal(true.shape), axis=0)
    return unit, gps_vote(_trajectory((true + drift) @ _rotation(rng).T / unit, time_s - time_s[0]), track)


def _receiver(rng: np.random.Generator, time_s: Array, true: Array, seconds: float) -> GpsTrack:
    """Positions at 1 to 18 Hz that err like an Ornstein-Uhlenbeck process whose memory is not the cue's own number."""
    rate = float(rng.choice([1.0, 5.0, 10.0, 18.0]))
    at = np.arange(0, seconds, 1 / rate)
    sigma = 2.0 * rng.uniform(0.7, 3.0)
    memory_s = 300.0 * np.exp(0.5 * rng.standard_normal())
    keep = np.exp(-1 / rate / memory_s)
    error = np.empty((len(at), 3))
    error[0] = sigma * rng.standard_normal(3)
    shocks = sigma * np.sqrt(1 - keep**2) * rng.standard_normal(error.shape)
    for index in range(1, len(at)):
        error[index] = keep * error[index - 1] + shocks[index]
    error += rng.uniform(0.02, 0.15) * sigma * rng.standard_normal(error.shape)
    if rng.random() < 0.2:  # a reflection: a few fixes somewhere else
        first = rng.integers(len(at))
        error[first : first + rng.integers(1, 4)] += rng.uniform(5, 25) * rng.standard_normal(3)
    error[:, 2] *= 2.0
    lag_s = 0.2 + 0.4 * rng.standard_normal()
    seen = np.stack([np.interp(at - lag_s, time_s, column) for column in true.T], axis=1)
    return GpsTrack(
        time_s=at,
        enu_m=seen + error,
        sigma_m=np.full(len(at), sigma),
        fix=np.full(len(at), 3),
        elapsed_s=at,
        clock_sigma_s=0.5,
        source="draw",
    )


def _camera_height(rng: np.random.Generator) -> Draw:
    """A street that slopes and is uneven, with pavement, walls, cars and wild points; a height stated with 1 to 6 %."""
    unit, sigma = _unit(rng), rng.uniform(0.01, 0.06)
    stated_m = rng.uniform(1.2, 2.2)
    true_m = stated_m * np.exp(sigma * rng.standard_normal())
    z = np.linspace(0, rng.uniform(8, 40), 40)
    position = np.stack([0.1 * _smooth(rng, z, 6), 0.01 * rng.standard_normal(40), z], axis=1)
    road = rng.uniform((-4, true_m, 2), (4, true_m, z[-1] + 15), (int(rng.integers(120, 500)), 3))
    road[:, 1] += 0.012 * np.sin(road[:, 2] / rng.uniform(2, 6)) + 0.01 * rng.standard_normal(len(road))
    road[:, 1] += rng.uniform(0.01, 0.04) * (np.abs(road[:, 0]) / 4) ** 2  # the crown of a road
    pavement = rng.uniform((4, true_m - 0.12, 2), (6, true_m - 0.12, z[-1] + 15), (int(rng.integers(0, 80)), 3))
    wall = rng.uniform((-8, -6, 2), (-8, true_m, z[-1] + 30), (400, 3))
    cars = rng.uniform((2.5, 0.2, 5), (4, true_m, z[-1] + 10), (120, 3))
    wild = rng.uniform((-10, -10, 0), (10, 10, z[-1] + 30), (100, 3))
    xyz = np.concatenate([road, pavement, wall, cars, wild])
    xyz += 0.01 * np.linalg.norm(xyz - position[20], axis=1)[:, None] * rng.standard_normal(xyz.shape)
    stretch = np.exp(np.array([1, 1, 0]) * 0.015 * rng.standard_normal())  # a focal length that is a little off
    xyz, position = xyz * stretch, position * stretch
    turn = _turn(rng.normal(0, 3), rng.normal(0, 2), rng.normal(0, 5))  # the street is not level, nor the camera
    pose = _turn(rng.normal(0, 5), rng.normal(0, 2), 0.0)
    rotation = np.broadcast_to(turn @ pose, (40, 3, 3))
    annotation = _annotation(position @ turn.T / unit, rotation, xyz @ turn.T / unit, seed=int(rng.integers(1 << 30)))
    config = CameraHeightConfig(height_m=stated_m, height_sigma=sigma)
    return unit, config.build("cpu").vote(annotation, FILE)


def _baseline(rng: np.random.Generator) -> Draw:
    """One to three pairs of frames of a rig whose stated length is off, seen by a trajectory with its covariance."""
    unit, sigma = _unit(rng), rng.uniform(0.003, 0.05)
    metres = np.exp(rng.uniform(np.log(0.06), np.log(3)))
    noise = metres * np.exp(rng.uniform(np.log(0.001), np.log(0.03)))
    count = int(rng.integers(1, 4))
    starts = rng.uniform(-5, 5, (count, 3))
    away = rng.standard_normal((count, 3))
    true = np.stack([starts, starts + metres * away / np.linalg.norm(away, axis=1)[:, None]], axis=1).reshape(-1, 3)
    found = true * np.exp(0.005 * rng.standard_normal()) + noise * rng.standard_normal(true.shape)
    covariance = np.zeros((2 * count, 6, 6))
    covariance[:, 3:, 3:] = np.eye(3) * (noise / unit) ** 2
    annotation = _annotation(found / unit, np.broadcast_to(np.eye(3), (2 * count, 3, 3)), None, covariance)
    stated = metres * np.exp(sigma * rng.standard_normal())
    pairs = tuple(Baseline(first=2 * i, second=2 * i + 1, metres=float(stated), sigma=sigma) for i in range(count))
    return unit, BaselineConfig(pairs=pairs).build("cpu").vote(annotation, FILE)


def _object_length(rng: np.random.Generator) -> Draw:
    """A length on a wall that is seen askew: clicked in one frame beside sparse points, or in two to four."""
    unit, sigma = _unit(rng), rng.uniform(0.003, 0.05)
    far, yaw = rng.uniform(3, 12), np.radians(rng.uniform(-40, 40))
    along, up = np.array([np.cos(yaw), 0, np.sin(yaw)]), np.array([0.0, 1, 0])
    centre = np.array([rng.uniform(-0.15, 0.15) * far, rng.uniform(-0.1, 0.1) * far, far])
    tilt = rng.uniform(0, 2 * np.pi)
    metres = rng.uniform(0.06, 0.25) * far
    half = metres / 2 * (np.cos(tilt) * along + np.sin(tilt) * up)
    ends = np.stack([centre - half, centre + half])
    frames = int(rng.integers(2, 5)) if rng.random() < 0.5 else 1
    position = np.zeros((frames, 3))
    position[:, 0] = np.linspace(0, rng.uniform(0.1, 0.4) * far, frames)
    wall = centre + rng.uniform(-0.5, 0.5, (500, 1)) * far * along + rng.uniform(-0.4, 0.4, (500, 1)) * far * up
    seen = wall - position[0]
    wall = position[0] + seen * (1 + 0.015 * rng.standard_normal((500, 1)))
    wall = np.concatenate([wall, rng.uniform((-5, -5, 2), (5, 5, 20), (40, 3))])
    shape = np.exp(0.005 * rng.standard_normal())
    annotation = _annotation(position * shape / unit, np.broadcast_to(np.eye(3), (frames, 3, 3)), wall * shape / unit)
    clicks = []
    for index in range(frames):
        local = ends - position[index]
        px = local[:, :2] / local[:, 2:] * (CAMERA.fx, CAMERA.fy) + (CAMERA.cx, CAMERA.cy)
        px = px + 2.0 * rng.standard_normal((2, 2))
        clicks.append(Click(frame=index, start_px=tuple(px[0]), end_px=tuple(px[1])))
    stated = float(metres * np.exp(sigma * rng.standard_normal()))
    config = ObjectLengthConfig(clicks=tuple(clicks), metres=stated, sigma=sigma)
    return unit, config.build("cpu").vote(annotation, FILE)


def _depth_network(rng: np.random.Generator) -> Draw:
    """A network with one bias a scene, another that wanders from frame to frame, noise, and points behind others."""
    unit, count = _unit(rng), int(rng.integers(3, 17))
    xyz = np.column_stack([rng.uniform(-4, 4, 600), rng.uniform(-2, 2, 600), rng.uniform(3, 15, 600)])
    position = np.zeros((count, 3))
    position[:, 0] = np.linspace(0, 1, count)
    noisy = xyz * (1 + 0.02 * rng.standard_normal((600, 1)))
    annotation = _annotation(position / unit, np.broadcast_to(np.eye(3), (count, 3, 3)), noisy / unit)
    bias = NETWORK_BIAS_LOG * rng.standard_normal()
    wander = rng.uniform(0.02, 0.15) * _smooth(rng, np.arange(count) / 1.0, 2.0)
    factors = []
    for frame in range(count):
        metres = np.full((54, 96), np.nan, dtype=np.float32)
        local = xyz - position[frame]
        place = np.floor((local[:, :2] / local[:, 2:] * (CAMERA.fx, CAMERA.fy) + (CAMERA.cx, CAMERA.cy)) / 10).astype(
            int
        )
        inside = (place[:, 0] >= 0) & (place[:, 0] < 96) & (place[:, 1] >= 0) & (place[:, 1] < 54)
        order = np.argsort(-local[:, 2])  # the nearest is written last: it hides what lies behind
        order = order[inside[order]]
        spoiled = local[order, 2] * np.exp(bias + wander[frame] + 0.08 * rng.standard_normal(len(order)))
        metres[place[order, 1], place[order, 0]] = spoiled
        factor = factor_of_frame(annotation, frame, metres)
        if factor is not None:
            factors.append((frame, factor))
    return unit, vote_of_factors(factors, NETWORK_BIAS_LOG)


def _given_poses(rng: np.random.Generator) -> Draw:
    """Poses whose file is in metres but for an error of the size it claims."""
    sigma = rng.uniform(0.002, 0.05)
    annotation = _annotation(rng.standard_normal((4, 3)), np.broadcast_to(np.eye(3), (4, 3, 3)), None, hint=sigma)
    return float(np.exp(sigma * rng.standard_normal())), GivenPosesConfig().build("cpu").vote(annotation, FILE)


DRAWS: dict[str, Callable[[np.random.Generator], Draw]] = {
    "gps": _gps,
    "camera_height": _camera_height,
    "baseline": _baseline,
    "object_length": _object_length,
    "depth_network": _depth_network,
    "given_poses": _given_poses,
}


def _smooth(rng: np.random.Generator, at: Array, length: float) -> Array:
    """Random waves of unit variance with wavelengths around 2·pi·`length`."""
    frequency = rng.uniform(0.3, 1.5, 6) / length
    phase = rng.uniform(0, 2 * np.pi, 6)
    return np.sqrt(2 / 6) * np.sin(at[:, None] * frequency + phase).sum(axis=1)


def _rotation(rng: np.random.Generator) -> Array:
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


def _turn(x_deg: float, z_deg: float, y_deg: float) -> Array:
    """Rotation about x, then z, then y."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("xzy", [x_deg, z_deg, y_deg], degrees=True).as_matrix()


def _trajectory(
    position: Array, time_s: Array, rotation: Array | None = None, covariance: Array | None = None
) -> Trajectory:
    poses = np.tile(np.eye(4), (len(position), 1, 1))
    poses[:, :3, 3] = position
    if rotation is not None:
        poses[:, :3, :3] = rotation
    posed = np.ones(len(position), dtype=bool)
    return Trajectory(
        world_from_cam=poses, time_s=time_s, posed=posed, scale=ScaleKind.UP_TO_SCALE, covariance=covariance
    )


def _annotation(
    position: Array,
    rotation: Array,
    xyz: Array | None,
    covariance: Array | None = None,
    hint: float | None = None,
    seed: int = 0,
) -> Annotation:
    """An up-to-scale annotation of frames at 10 a second."""
    time_s = np.arange(len(position)) / 10
    view = SourceView(
        decoder="draw", decoded_width=CAMERA.width, decoded_height=CAMERA.height, rotation_deg=0,
        sample_aspect_ratio=1.0, pts_s=time_s, width=CAMERA.width, height=CAMERA.height,
    )  # fmt: skip
    points = None
    if xyz is not None:
        count = len(xyz)
        points = Points(
            xyz=xyz,
            rgb=np.zeros((count, 3), dtype=np.uint8),
            error_px=np.full(count, 0.5, dtype=np.float32),
            track_length=np.full(count, 4, dtype=np.int32),
        )
    span_s = (0.0, float(time_s[-1]) + 0.1)
    return Annotation(
        clip=Clip(id="0" * 32, source="draw", span_s=span_s, fps=10.0, width=CAMERA.width, height=CAMERA.height),
        view=view,
        verdicts=(),
        provenance=Provenance(tool_version="0", config_hash="0", input_hash="0", seed=seed, backends=()),
        trajectory=_trajectory(position, time_s, rotation, covariance),
        intrinsics=(CAMERA,) * len(position),
        points=points,
        metric_hint_sigma_log=hint,
    )
