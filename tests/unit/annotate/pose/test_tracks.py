"""The tracker on pictures whose motion is known, and the choice of keyframes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from tests.unit.annotate.pose.scenes import arc_scene, tracks_of
from wmkit.annotate.pose.coarse_flow import CoarseFlow
from wmkit.annotate.pose.keyframes import KeyframeConfig, choose_keyframes
from wmkit.annotate.pose.tracks import TrackConfig, Tracks, track_points
from wmkit.clip import Clip
from wmkit.video.frames import ClipFile, DecodeFacts, FrameWindow

WIDTH, HEIGHT = 320, 200


@dataclass
class Pictures:
    """A FrameSource of ready pictures (n, h, w, 3)."""

    rgb: np.ndarray

    @property
    def file(self) -> ClipFile:
        raise NotImplementedError("the engine goes by the pictures, their size and their times alone")

    @property
    def clip(self) -> Clip:
        raise NotImplementedError("the engine goes by the pictures, their size and their times alone")

    @property
    def facts(self) -> DecodeFacts:
        raise NotImplementedError("the engine goes by the pictures, their size and their times alone")

    @property
    def view(self) -> Any:
        return SimpleNamespace(width=self.rgb.shape[2], height=self.rgb.shape[1])

    def windows(self, size: int = 64) -> Iterator[FrameWindow]:
        for start in range(0, len(self.rgb), size):
            part = self.rgb[start : start + size]
            yield FrameWindow(start=start, rgb=part, time_s=np.arange(start, start + len(part)) / 16)


def texture(seed: int = 0) -> np.ndarray:
    """(h, w, 3) float, periodic, with detail at every scale (amplitude 1/f, as photographs have)."""
    spectrum = np.fft.fft2(np.random.default_rng(seed).normal(size=(HEIGHT * 2, WIDTH * 2)))
    frequency = np.hypot(np.fft.fftfreq(HEIGHT * 2)[:, None], np.fft.fftfreq(WIDTH * 2))
    gray = np.fft.ifft2(spectrum * np.exp(-2 * (np.pi * frequency) ** 2) / np.maximum(frequency, 0.01)).real
    gray = (gray - gray.min()) / (gray.max() - gray.min()) * 255
    return np.repeat(gray[..., None], 3, axis=2)


def shifted(count: int, step: tuple[float, float]) -> Pictures:
    """The texture's content moving by -step px a frame: shifted exactly, by the phase of its spectrum."""
    spectrum = np.fft.fft2(texture()[..., 0])
    turn = np.fft.fftfreq(HEIGHT * 2)[:, None] * step[1] + np.fft.fftfreq(WIDTH * 2) * step[0]
    frames = [np.fft.ifft2(spectrum * np.exp(2j * np.pi * turn * index)).real for index in range(count)]
    frames = np.clip(np.rint(frames), 0, 255).astype(np.uint8)[:, 40 : 40 + HEIGHT, 40 : 40 + WIDTH]
    return Pictures(np.repeat(frames[..., None], 3, axis=3))


@pytest.mark.parametrize("step", [(0.4, 0.25), (3.5, -1.25), (24.0, 6.0)])
def test_tracks_follow_a_known_shift(step: tuple[float, float]) -> None:
    tracks = track_points(shifted(4, step), TrackConfig(max_points=300))
    for frame in range(1, 4):
        before, after = tracks.common(frame - 1, frame)
        assert len(after) > 100
        motion = tracks.xy[frame][after] - tracks.xy[frame - 1][before]
        # LK on an exactly shifted 8-bit picture is good to a hundredth of a pixel in the median
        np.testing.assert_allclose(np.median(motion, axis=0), (-step[0], -step[1]), atol=0.02)
        assert np.percentile(np.abs(motion + step), 90) < 0.1


@pytest.mark.parametrize("step", [(-70.0, 12.0), (110.0, 0.0), (-90.0, -45.0)])
def test_a_fast_turn_keeps_its_tracks(step: tuple[float, float]) -> None:
    """A fifth to a third of the frame at a time: dense flow alone loses nearly all, and what it keeps is wrong."""
    tracks = track_points(shifted(3, step), TrackConfig(max_points=300))
    for frame in range(1, 3):
        before, after = tracks.common(frame - 1, frame)
        motion = tracks.xy[frame][after] - tracks.xy[frame - 1][before]
        assert len(after) > 60
        assert (np.abs(motion + step) < 1).all(axis=1).mean() > 0.97


def test_the_coarse_flow_takes_a_shift_only_where_it_fits_better() -> None:
    """Most of a picture at rest before a strip that runs: whatever shift the two agree on, points at rest stay."""
    still, strip = texture(1), texture(2)
    frames = [still[20:220, 20:340].copy() for _ in range(2)]
    for index, picture in enumerate(frames):
        picture[150:] = strip[150:200, 20 + 40 * index : 340 + 40 * index]
    before, after = (np.asarray(picture[..., 0], np.uint8) for picture in frames)
    xy = np.stack(np.meshgrid(np.arange(20.0, 300, 20), np.arange(20.0, 130, 20)), -1).reshape(-1, 2)
    field = CoarseFlow(WIDTH, HEIGHT, 480, 4.0).field(before, after, xy.astype(np.float32))
    assert field.shape == (HEIGHT, WIDTH, 2)
    assert np.median(np.abs(field[:130])) < 0.2


@pytest.mark.parametrize("grow", [1.02, 1 / 1.02])
def test_what_grows_is_not_dragged_along(grow: float) -> None:
    """A picture that grows by 2 % a frame, 12 times: LK alone has no growth in its windows and is off by ever more."""
    wall = texture(4)[..., 0].astype(np.float32)
    frames, centre = [], np.array([WIDTH / 2, HEIGHT / 2])
    for index in range(13):
        scale = 0.6 * grow ** (-index)  # of the wall's px to a px of the picture
        shift = np.array([wall.shape[1], wall.shape[0]]) / 2 - scale * centre + 0.5 * scale - 0.5
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        frames.append(cv2.warpAffine(wall, matrix, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REFLECT))
    pictures = Pictures(np.repeat(np.clip(np.rint(frames), 0, 255).astype(np.uint8)[..., None], 3, axis=3))
    tracks = track_points(pictures, TrackConfig(max_points=300))
    before, after = tracks.common(0, 12)
    assert len(after) > 80
    expected = centre + (tracks.xy[0][before] - centre) * grow**12
    off_px = np.linalg.norm(tracks.xy[12][after] - expected, axis=1)
    assert np.median(off_px) < 0.15


def test_a_handful_that_passes_by_chance_is_no_track() -> None:
    pictures = Pictures(np.stack([texture(seed)[:HEIGHT, :WIDTH] for seed in (1, 2)]).astype(np.uint8))
    unchecked = track_points(pictures, TrackConfig(least_share=0.0))
    assert len(unchecked.common(0, 1)[0]) > 0, "two pictures that show nothing in common"
    assert len(track_points(pictures, TrackConfig()).common(0, 1)[0]) == 0


def test_ids_are_sorted_unique_and_colours_belong_to_them() -> None:
    pictures = shifted(3, (2.0, 1.0))
    tracks = track_points(pictures, TrackConfig(max_points=200))
    for ids, xy in zip(tracks.ids, tracks.xy, strict=True):
        assert (np.diff(ids) > 0).all()
        assert len(ids) == len(xy)
        assert (xy >= 0.5).all()
        assert (xy <= (WIDTH - 0.5, HEIGHT - 0.5)).all()
    assert len(tracks.rgb) == max(ids[-1] for ids in tracks.ids) + 1
    column, row = np.floor(tracks.xy[0][:20]).astype(int).T
    np.testing.assert_array_equal(tracks.rgb[tracks.ids[0][:20]], pictures.rgb[0][row, column])


def test_lost_tracks_are_replaced_and_dead_ids_never_return() -> None:
    pictures = shifted(6, (2.0, 0.0))
    pictures.rgb[3] = 255 - np.roll(pictures.rgb[3], 60, axis=1)  # a cut
    tracks = track_points(pictures, TrackConfig(max_points=200))
    assert len(tracks.common(2, 3)[0]) < 0.2 * len(tracks.ids[2])
    assert len(tracks.ids[3]) > 0.7 * len(tracks.ids[2])
    gone = np.setdiff1d(tracks.ids[2], tracks.ids[3])
    assert not np.isin(gone, np.concatenate(tracks.ids[3:])).any()


def test_a_blank_picture_has_no_tracks_and_costs_no_error() -> None:
    tracks = track_points(Pictures(np.zeros((3, HEIGHT, WIDTH, 3), np.uint8)), TrackConfig())
    assert [len(ids) for ids in tracks.ids] == [0, 0, 0]
    assert tracks.parallax_px(0, 2) == float("inf")


def test_a_moving_object_is_cleaned_away() -> None:
    """A camera moving past a textured wall at two depths, and one patch that moves against the epipolar geometry."""
    far, near, patch = texture(1), texture(2), texture(3)
    frames = []
    for index in range(4):
        picture = far[20:220, 20 + 2 * index : 340 + 2 * index].copy()
        picture[110:200] = near[110:200, 20 + 7 * index : 340 + 7 * index]
        picture[30 + 9 * index : 80 + 9 * index, 120:190] = patch[:50, :70]
        frames.append(picture)
    tracks = track_points(Pictures(np.array(frames).astype(np.uint8)), TrackConfig(max_points=600))
    before, after = tracks.common(0, 3)
    motion = tracks.xy[3][after] - tracks.xy[0][before]
    vertical = np.abs(motion[:, 1]) > 5
    assert len(motion) > 100
    assert vertical.mean() < 0.03


def test_two_runs_are_the_same() -> None:
    first, second = (track_points(shifted(4, (3.0, 1.0)), TrackConfig()) for _ in range(2))
    assert [xy.tobytes() for xy in first.xy] == [xy.tobytes() for xy in second.xy]


def sliding_tracks(step_px: float, frames: int = 20) -> Tracks:
    xy = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), -1).reshape(-1, 2).astype(np.float32) * 20
    return Tracks(
        ids=(np.arange(len(xy)),) * frames,
        xy=tuple((xy + index * step_px * np.array([1, 0])).astype(np.float32) for index in range(frames)),
        rgb=np.zeros((len(xy), 3), np.uint8),
        thumbnail=np.zeros((frames, 24, 32), np.uint8),
        width=600,
        height=800,
    )


def test_keyframes_come_at_the_stated_parallax() -> None:
    # the diagonal is 1000 px: 2.5 % of it is 25 px, reached every third frame of 10 px
    assert choose_keyframes(sliding_tracks(10.0), KeyframeConfig(parallax=0.025)) == (0, 3, 6, 9, 12, 15, 18, 19)


def test_a_clip_of_little_motion_still_gets_keyframes() -> None:
    # 2.5 % of 1000 px is never reached in 19 frames of 1.2 px; halved once it is 12.5 px, reached every 11th frame;
    # halved again 6.25 px, every sixth frame; there is no third time, since 3.1 px lies below the least of 0.6 %
    slow = sliding_tracks(1.2)
    assert choose_keyframes(slow, KeyframeConfig(fewest=2)) == (0, 19)
    assert choose_keyframes(slow, KeyframeConfig(fewest=3)) == (0, 11, 19)
    assert choose_keyframes(slow, KeyframeConfig(fewest=8)) == (0, 6, 12, 18, 19)
    assert choose_keyframes(slow, KeyframeConfig(fewest=8, least=0.003)) == (0, 3, 6, 9, 12, 15, 18, 19)


def test_a_still_camera_has_its_ends_as_keyframes() -> None:
    assert choose_keyframes(sliding_tracks(0.0), KeyframeConfig()) == (0, 19)


def test_a_frame_before_the_tracks_die_is_a_keyframe() -> None:
    tracks = sliding_tracks(1.0)
    ids = tuple(tracks.ids[0][: 400 if frame < 7 else 100] for frame in range(20))
    xy = tuple(tracks.xy[frame][: len(ids[frame])] for frame in range(20))
    dying = replace(tracks, ids=ids, xy=xy)
    assert 6 in choose_keyframes(dying, KeyframeConfig())


def test_tracks_of_a_scene_share_what_both_frames_see() -> None:
    tracks = tracks_of(arc_scene())
    in_first, in_last = tracks.common(0, 5)
    np.testing.assert_array_equal(tracks.ids[0][in_first], tracks.ids[5][in_last])


@pytest.mark.parametrize("size", [(640, 18), (20, 500), (66, 31), (64, 20)])
def test_a_narrow_picture_has_a_flow(size: tuple[int, int]) -> None:
    """OpenCV's DIS ends the whole process on some of these shapes, if it is given them as they are."""
    rng = np.random.default_rng(0)
    before, after = (rng.integers(0, 255, size[::-1], dtype=np.uint8) for _ in range(2))
    xy = rng.uniform(0, size, (30, 2)).astype(np.float32)
    field = CoarseFlow(*size, 480, 4.0).field(before, after, xy)
    assert field.shape == (size[1], size[0], 2)
    assert np.isfinite(field).all()
