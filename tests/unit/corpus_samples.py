"""Small annotations, with every optional part and with none."""

import dataclasses
import math

import numpy as np

from wmkit.camera import CameraPrior, Intrinsics, Lens, ScaleEstimate, ScaleKind, ScaleVote, Trajectory
from wmkit.clip import (
    Absence,
    Annotation,
    BackendRecord,
    Clip,
    Confidence,
    DepthMap,
    DynamicMask,
    NoTrajectory,
    Points,
    PoseQuality,
    Provenance,
    SourceView,
    Verdict,
)

CONFIG_HASH = "c0ffee"


def clip_id(number: int) -> str:
    """A valid id whose first two digits differ from number to number."""
    return f"{number:02x}" + "ab" * 15


def full_annotation(number: int = 1, frames: int = 6) -> Annotation:
    """Posed but for one frame, with covariance, points, depth and verdicts of both states; awkward numbers."""
    rng = np.random.default_rng(number)
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, :3, 3] = rng.normal(size=(frames, 3)) / 3
    posed = np.ones(frames, dtype=bool)
    posed[2] = False
    poses[2] = np.nan
    root = rng.normal(size=(frames, 6, 6))
    covariance = root @ np.swapaxes(root, 1, 2)
    covariance = (covariance + np.swapaxes(covariance, 1, 2)) / 2
    covariance[0], covariance[2] = 0, np.nan
    view = _view(frames)
    valid = rng.random((2, 4, 5)) > 0.3
    return dataclasses.replace(
        bare_annotation(number, frames),
        no_trajectory=None,
        trajectory=Trajectory(
            world_from_cam=poses,
            time_s=view.time_s,
            posed=posed,
            scale=ScaleKind.UP_TO_SCALE,
            covariance=covariance,
        ),
        intrinsics=tuple(
            Intrinsics(fx=50 + index / 3, fy=51.1, cx=31.9, cy=24.1, width=64, height=48) for index in range(frames)
        ),
        points=Points(
            xyz=rng.normal(size=(7, 3)),
            rgb=rng.integers(0, 256, (7, 3), dtype=np.uint8),
            error_px=rng.random(7, dtype=np.float32),
            track_length=rng.integers(2, 9, 7, dtype=np.int32),
        ),
        depth=DepthMap(
            frame=np.array([0, 4]),
            z=1 + rng.random((2, 4, 5), dtype=np.float32),
            valid=valid,
            scale=ScaleKind.UP_TO_SCALE,
            confidence=rng.random((2, 4, 5), dtype=np.float32),
        ),
        absences=(Absence(part="scale", name="camera_height", reason="no ground plane"),),
        prior=CameraPrior(fx=50.1, fy=51.0, cx=None, cy=None, sigma_log=0.05, source="--fov-deg 65"),
        metric_hint_sigma_log=0.02,
        confidence=Confidence(quality=quality_of(rng, posed), p_good=1 / 3, calibration="p_good-test"),
        dynamic=DynamicMask(frame=np.array([1, 3, 5]), mask=rng.random((3, 9, 12)) > 0.5),
    )


def quality_of(rng: np.random.Generator, posed: np.ndarray) -> PoseQuality:
    """Evidence with NaN where unposed, and one feature that is unknown."""
    row = lambda: np.where(posed, rng.random(len(posed)), np.nan)
    return PoseQuality(
        reprojection_px=row(),
        inlier_ratio=row(),
        parallax_deg=row(),
        rotation_disagreement_deg=np.full(len(posed), np.nan),
        position_disagreement=row(),
        features=(("reprojection_px", 1 / 7), ("disagreement_focal", float("nan"))),
    )


def metric_annotation(number: int = 1) -> Annotation:
    """The full one in metres, by two cues."""
    votes = tuple(ScaleVote(cue=cue, value=value, sigma_log=0.1) for cue, value in (("height", 1.9), ("factor", 2.1)))
    scale = ScaleEstimate(value=2.0, low=1.7, high=2.3, votes=votes, disagreement=0.7)
    return full_annotation(number).to_metric(scale)


def undistorted_annotation(number: int = 1) -> Annotation:
    """The full one whose frames were undistorted, by a lens of awkward numbers."""
    full = full_annotation(number)
    lens = Lens(model="RADIAL", params=(50 / 3, 31.9, 24.1, 0.1, -1e-17), width=64, height=48)
    pinhole = lens.default_pinhole()
    view = full.view.undistorted(lens, pinhole)
    return dataclasses.replace(full, view=view, intrinsics=(pinhole,) * len(view))


def bare_annotation(number: int = 1, frames: int = 6) -> Annotation:
    """No trajectory, and why."""
    return Annotation(
        clip=Clip(
            id=clip_id(number), source=f"street/ümläut {number}.mp4", span_s=(0.1, 1.3), width=65, height=48, fps=29.97
        ),
        view=_view(frames),
        verdicts=(
            Verdict.measured("fov_x", 1 / 3, "deg"),
            Verdict.measured("tiny", 5e-324, ""),
            Verdict.unmeasured("reprojection", "px", "no trajectory"),
        ),
        provenance=Provenance(
            tool_version="0.1.0",
            config_hash=CONFIG_HASH,
            input_hash="1f" * 32,
            seed=3,
            backends=(
                BackendRecord(part="pose", name="dummy", version="0.1.0", licence="Apache-2.0"),
                BackendRecord(part="depth", name="net", version="2", licence="MIT", weights_hash="aa"),
            ),
        ),
        no_trajectory=NoTrajectory(reason="too_few_tracks", detail="8 tracks, 50 needed"),
    )


def assert_same(left: object, right: object) -> None:
    """Equal in every field and, for arrays, in dtype, shape and every bit of every value (NaN equals NaN)."""
    assert type(left) is type(right)
    if dataclasses.is_dataclass(left):
        for field in dataclasses.fields(left):
            assert_same(getattr(left, field.name), getattr(right, field.name))
    elif isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        assert (left.dtype, left.shape) == (right.dtype, right.shape)
        np.testing.assert_array_equal(left, right)
    elif isinstance(left, float) and math.isnan(left):
        assert isinstance(right, float)
        assert math.isnan(right)
    elif isinstance(left, tuple) and isinstance(right, tuple):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            assert_same(a, b)
    else:
        assert left == right


def _view(frames: int) -> SourceView:
    return SourceView(
        decoder="pyav",
        decoded_width=48,
        decoded_height=60,
        rotation_deg=90,
        sample_aspect_ratio=13 / 12,
        width=64,
        height=48,
        pts_s=0.1 + np.arange(frames) / 7,
    )
