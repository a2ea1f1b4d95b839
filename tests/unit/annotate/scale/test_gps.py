"""Scale from positions: exact tracks, noise, lag, jumps, and tracks that say nothing."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.annotate_doubles import NO_FILE, annotation_of, no_trajectory_of, path_of
from wmkit.annotate.protocols import Unmeasured
from wmkit.annotate.scale.gps import GpsConfig, gps_vote
from wmkit.camera import ScaleKind, ScaleVote, Trajectory
from wmkit.telemetry import GpsTrack, Sidecars, read_telemetry
from wmkit.video import VideoConfig, discover, identify, open_source

UNIT_M = 4.0
TURNED = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])


def walk(seconds: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
    """Times at 10 Hz and metres of a walk with turns and a change of pace."""
    time_s = np.arange(0, seconds, 0.1)
    heading = 0.6 * np.sin(time_s / 4)
    speed = 1.4 + 0.4 * np.sin(time_s / 2)
    velocity = np.stack([speed * np.cos(heading), speed * np.sin(heading), np.zeros_like(time_s)], axis=1)
    return time_s, np.cumsum(velocity, axis=0) * 0.1


def trajectory_of(position: np.ndarray, time_s: np.ndarray) -> Trajectory:
    posed = np.ones(len(time_s), dtype=bool)
    return Trajectory(
        world_from_cam=path_of(position @ TURNED / UNIT_M), time_s=time_s, posed=posed, scale=ScaleKind.UP_TO_SCALE
    )


def track_of(
    time_s: np.ndarray, enu_m: np.ndarray, sigma_m: float = 1.0, fix: int = 3, clock_s: float = 0.5
) -> GpsTrack:
    count = len(time_s)
    return GpsTrack(
        time_s=time_s, enu_m=enu_m, sigma_m=np.full(count, sigma_m), fix=np.full(count, fix), elapsed_s=time_s,
        clock_sigma_s=clock_s, source="test",
    )  # fmt: skip


def vote(trajectory: Trajectory, track: GpsTrack) -> ScaleVote:
    opinion = gps_vote(trajectory, track)
    assert isinstance(opinion, ScaleVote), opinion
    return opinion


def test_an_exact_track_gives_the_exact_scale() -> None:
    time_s, metres = walk()
    assert vote(trajectory_of(metres, time_s), track_of(time_s, metres, clock_s=0.0)).value == pytest.approx(
        UNIT_M, rel=1e-6
    )


@pytest.mark.parametrize("lag_s", [0.0, 0.4, 0.8])
def test_a_lag_is_found(lag_s: float) -> None:
    time_s, metres = walk(24.0)
    inside = (time_s > 2) & (time_s < 22)
    late = np.stack([np.interp(time_s - lag_s, time_s, column) for column in metres.T], axis=1)
    opinion = vote(trajectory_of(metres[inside], time_s[inside]), track_of(time_s[inside], late[inside]))
    assert opinion.value == pytest.approx(UNIT_M, rel=0.005)  # smoothing over a second rounds the turns off


def test_a_poorer_receiver_has_a_wider_sigma_and_a_short_walk_none() -> None:
    time_s, metres = walk()
    trajectory = trajectory_of(metres, time_s)
    sigmas = [vote(trajectory, track_of(time_s, metres, sigma_m=sigma)).sigma_log for sigma in (0.5, 2.0, 5.0)]
    assert sigmas == sorted(sigmas)
    short = gps_vote(trajectory_of(metres / 20, time_s), track_of(time_s, metres / 20, sigma_m=5.0))
    assert short == Unmeasured(reason="motion_too_small_for_gps")


def test_jumps_are_no_motion() -> None:
    time_s, metres = walk()
    spoiled = metres.copy()
    spoiled[60:63] += (20.0, -15.0, 0.0)
    opinion = vote(trajectory_of(metres, time_s), track_of(time_s, spoiled))
    assert abs(np.log(opinion.value / UNIT_M)) < 1.96 * opinion.sigma_log


def test_two_dimensions_do_without_altitude() -> None:
    time_s, metres = walk()
    flat = metres.copy()
    flat[:, 2] = np.nan
    assert vote(trajectory_of(metres, time_s), track_of(time_s, flat, fix=2)).value == pytest.approx(UNIT_M, rel=0.01)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fix": np.zeros(200, dtype=int)}, "no_gps_fix"),
        ({"time_s": np.arange(200) / 10 + 100}, "gps_times_outside_clip"),
        ({"enu_m": np.zeros((200, 3))}, "motion_too_small_for_gps"),
    ],
)
def test_a_track_that_says_nothing_has_its_reason(change: dict, reason: str) -> None:
    time_s, metres = walk()
    track = dataclasses.replace(track_of(time_s, metres), **change)
    assert gps_vote(trajectory_of(metres, time_s), track) == Unmeasured(reason=reason)


def test_a_camera_that_stands_still_and_unposed_frames() -> None:
    time_s, metres = walk()
    still = gps_vote(trajectory_of(np.zeros_like(metres), time_s), track_of(time_s, metres))
    assert still == Unmeasured(reason="motion_too_small_for_gps")
    poses = path_of(metres @ TURNED / UNIT_M)
    poses[40:80] = np.nan
    gap = Trajectory(
        world_from_cam=poses, time_s=time_s, posed=np.isfinite(poses[:, 0, 0]), scale=ScaleKind.UP_TO_SCALE
    )
    assert vote(gap, track_of(time_s, metres)).value == pytest.approx(UNIT_M, rel=0.01)


def test_without_telemetry_or_trajectory_there_is_a_reason() -> None:
    cue = GpsConfig(sidecars=Sidecars()).build("cpu")
    assert cue.vote(no_trajectory_of(), NO_FILE) == Unmeasured(reason="no_trajectory")
    assert cue.vote(annotation_of(path_of(np.eye(3))), NO_FILE) == Unmeasured(reason="no_telemetry")


def test_a_real_walk_with_a_lagging_receiver(shared_data: Path) -> None:
    file = identify(discover([shared_data / "posed" / "gopro_max_walk"]).clips[0])
    frames = open_source(file, VideoConfig(fps=None))
    track = read_telemetry(file, frames.view, frames.clip.span_s[0], Sidecars()).gps
    assert track is not None
    rng = np.random.default_rng(0)
    time_s = frames.view.time_s
    metres = np.stack([np.interp(time_s + 0.4, track.time_s, column) for column in track.enu_m.T], axis=1)
    metres += 0.02 * rng.standard_normal(metres.shape)  # steps
    opinion = vote(trajectory_of(metres, time_s), track)
    assert opinion.value == pytest.approx(UNIT_M, rel=0.05)  # the limit on the net displacement
    assert abs(np.log(opinion.value / UNIT_M)) < 1.96 * opinion.sigma_log
