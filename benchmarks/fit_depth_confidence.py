"""Fit the weights of `wmkit.annotate.depth.confidence` on synthetic clips whose depth is known exactly.

    python benchmarks/fit_depth_confidence.py [--work DIR]

Ten clips of the demo's kinds of worlds with other seeds, paths and lenses are rendered, posed by the default engine,
swept, and every 7th pixel is a row: was its depth within 5 % of the truth, the clip's scale once aligned? Clips
whose cameras came out wrong are left out. Each is then judged by weights fitted without it. About four core-minutes;
what --work holds is not made again.
"""

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.optimize import minimize

from wmkit.annotate.depth import PlaneSweepConfig
from wmkit.annotate.depth.confidence import EVIDENCE, VOTES
from wmkit.annotate.depth.plane_sweep import swept_frames, votes
from wmkit.annotate.depth.views import chosen_frames, plan_sweeps
from wmkit.annotate.isolated import annotate_pixels, camera_config
from wmkit.bench.depth_reference import WorldDepth
from wmkit.bench.worlds import judged
from wmkit.camera import Intrinsics
from wmkit.camera_paths import CameraPath, Crane, Drive, Orbit, SCurve, Walk
from wmkit.video import VideoConfig, discover, open_source
from wmkit.worlds import WorldClip, write_world
from wmkit.worlds.clips import Hall, LivingRoom, Scene, Street

Rows = tuple[np.ndarray, np.ndarray]  # (M, 10) evidence, (M,) relative error
WITHIN = 0.05
MAX_FOCAL_ERROR = 0.03
EVERY = 7  # neighbouring pixels say the same
GOOD_SIGNS, NEUTRAL = {"log_unique", "agree", "confirmed"}, {"one"}  # the rest are bad signs, whatever boxes say


def clip(name: str, scene: Scene, path: CameraPath, position: tuple[float, float, float], fov_deg: float) -> WorldClip:
    """One clip of 48 frames."""
    camera = Intrinsics.from_fov(fov_deg, 640, 360)
    return WorldClip(name=name, scene=scene, path=path, position=position, intrinsics=camera, frames=48)


CLIPS = (
    clip("room_a", LivingRoom(seed=11), Orbit(radius_m=2.5, arc_deg=40.0, target_drop_m=0.7), (0.7, -1.4, -0.4), 62.0),
    clip("room_b", LivingRoom(seed=12), SCurve(speed_m_s=0.5, sway_m=0.3), (0.2, -1.5, -1.0), 74.0),
    clip("room_c", LivingRoom(seed=13), Orbit(radius_m=2.0, arc_deg=-30.0, rise_m=0.4), (0.5, -1.2, -0.4), 55.0),
    clip("hall_a", Hall(seed=11), Walk(speed_m_s=1.2, sway_m=0.2), (0.2, -1.6, -0.6), 70.0),
    clip("hall_b", Hall(seed=12), SCurve(speed_m_s=0.8, sway_m=0.4), (0.0, -1.5, -0.8), 85.0),
    clip("hall_c", Hall(seed=13), Drive(speed_m_s=1.5), (-0.3, -1.7, -0.9), 64.0),
    clip("street_a", Street(seed=11), Drive(speed_m_s=4.0, sway_m=0.3, period_s=4.0), (0.8, -1.5, 0.0), 66.0),
    clip("street_b", Street(seed=12), Walk(speed_m_s=1.5), (-0.5, -1.7, 6.0), 75.0),
    clip("street_c", Street(seed=13), Crane(rise_m=2.5, forward_m=2.5, tilt_deg=8.0, pan_deg=-18.0), (0.4, -1.7, 12.0),
         64.0),
    clip("street_d", Street(seed=14), SCurve(speed_m_s=2.5, sway_m=0.6), (0.0, -2.0, 8.0), 58.0),
)  # fmt: skip


def rows_of(world: WorldClip, work: Path, config: PlaneSweepConfig) -> Rows:
    """Evidence and errors of one clip; none where the cameras are not good, which `p_good` is for, not this."""
    kept = work / f"{world.name}.npz"
    if kept.exists():
        with np.load(kept) as loaded:
            return loaded["evidence"], loaded["error"]
    written = write_world(world, work)
    found = discover([written.video]).clips[0]
    with TemporaryDirectory() as folder:
        file, result = annotate_pixels(found, camera_config(), Path(folder))
        annotation = result.annotation
        trajectory = annotation.trajectory
        cameras = {} if trajectory is None else judged(trajectory, world.trajectory, None)
        focal = np.median([row.fx for row in annotation.intrinsics]) / world.intrinsics.fx if cameras else 0.0
        print(world.name, cameras, f"focal ratio {focal:.3f}", file=sys.stderr, flush=True)
        if trajectory is None or not cameras["good"] or abs(focal - 1) > MAX_FOCAL_ERROR:
            np.savez(kept, evidence=np.zeros((0, len(EVIDENCE) + len(VOTES))), error=np.zeros(0))
            return np.zeros((0, len(EVIDENCE) + len(VOTES))), np.zeros(0)
        keyframes = chosen_frames(trajectory.posed, config.max_frames)
        sweeps = plan_sweeps(annotation, keyframes, config.planes)
        frames = open_source(file, VideoConfig(fps=None))
        swept = list(swept_frames(frames, annotation, sweeps, config))
    views, trusted = [item.view for item in swept], [item.trusted_z for item in swept]
    height, width = trusted[0].shape
    truth = WorldDepth(clip=world)
    ratio, evidence = [], []
    for place, item in enumerate(swept):
        said = votes(place, sweeps, views, trusted, config.tolerance)
        rows = np.concatenate([item.evidence, (said > 0)[..., None], (said < 0)[..., None]], axis=-1)
        reference = truth.read(item.sweep.frame, width, height)
        known = item.inside & (reference > 0)
        ratio.append((reference * item.inverse)[known][::EVERY])
        evidence.append(rows[known][::EVERY].astype(np.float32))
    ratios = np.concatenate(ratio)
    error = np.abs(np.median(ratios) / ratios - 1)
    np.savez(kept, evidence=np.concatenate(evidence), error=error)
    return np.concatenate(evidence), error


def fitted(rows: list[Rows]) -> np.ndarray:
    """Weights of a logistic regression, lightly held towards 0."""
    x = np.concatenate([evidence for evidence, _ in rows]).astype(np.float64)
    right = np.concatenate([error < WITHIN for _, error in rows]).astype(np.float64)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        odds = x @ weights
        value = np.mean(np.logaddexp(0, odds) - right * odds) + 1e-4 * weights @ weights
        return float(value), x.T @ (1 / (1 + np.exp(-odds)) - right) / len(right) + 2e-4 * weights

    names = (*EVIDENCE, *VOTES)
    bounds = [
        (None if n in NEUTRAL or n not in GOOD_SIGNS else 0.0, None if n in NEUTRAL | GOOD_SIGNS else 0.0)
        for n in names
    ]
    return minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds).x


def main() -> int:
    """Print the weights and, for each clip, what weights fitted without it say of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--work", type=Path, default=Path("depth-confidence"))
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    config = PlaneSweepConfig()
    rows = []
    for world in CLIPS:
        rows.append(rows_of(world, work, config))
        print(world.name, len(rows[-1][1]), file=sys.stderr, flush=True)
    used = [place for place in range(len(CLIPS)) if len(rows[place][1])]
    out = {"weights": dict(zip((*EVIDENCE, *VOTES), fitted(rows).round(3).tolist(), strict=True)), "held_out": {}}
    for place in used:
        weights = fitted(rows[:place] + rows[place + 1 :])
        (evidence, error), world = rows[place], CLIPS[place]
        said = 1 / (1 + np.exp(-evidence @ weights))
        kept = said >= config.min_confidence
        out["held_out"][world.name] = {
            "said": round(float(said.mean()), 3),
            "within": round(float((error < WITHIN).mean()), 3),
            "kept": round(float(kept.mean()), 3),
            "abs_rel_percent": round(100 * float(error[kept].mean()), 2),
        }
    print(json.dumps(out, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
