"""Keyframes that tracks leave apart, tied by matched features."""

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.unit.annotate.pose.test_tracks import HEIGHT, WIDTH, Pictures, texture
from wmkit.annotate.pose import links
from wmkit.annotate.pose.features import Features
from wmkit.annotate.pose.links import LinkConfig, link_keyframes
from wmkit.annotate.pose.tracks import Tracks
from wmkit.video.frames import FrameWindow

NEVER = 2.0  # a correlation of thumbnails that none reaches
GRID = np.stack(np.meshgrid(np.arange(10.0, 300, 24), np.arange(10.0, 190, 18)), -1).reshape(-1, 2).astype(np.float32)


class Unread(Pictures):
    """Pictures that nobody may look at."""

    def windows(self, size: int = 64) -> Iterator[FrameWindow]:
        raise AssertionError("nothing is to be tied, so no frame is read")


def view_of(place: int, at: int) -> np.ndarray:
    """A window onto one of several textures, `at` px to the right."""
    return np.clip(texture(place), 0, 255).astype(np.uint8)[100 : 100 + HEIGHT, at : at + WIDTH]


def tracks_of_pieces(pictures: Pictures, pieces: list[list[int]]) -> Tracks:
    """Tracks in which the frames of a piece share every track, and no two pieces share one."""
    count = len(pictures.rgb)
    ids = [np.zeros(0, np.int64)] * count
    for number, piece in enumerate(pieces):
        for frame in piece:
            ids[frame] = np.arange(number * len(GRID), (number + 1) * len(GRID))
    small = [cv2.resize(picture[..., 0], (32, 24), interpolation=cv2.INTER_AREA) for picture in pictures.rgb]
    return Tracks(
        ids=tuple(ids),
        xy=(GRID,) * count,
        rgb=np.full((len(pieces) * len(GRID), 3), 50, np.uint8),
        thumbnail=np.asarray(small, np.uint8),
        width=WIDTH,
        height=HEIGHT,
    )


def added(tracks: Tracks, old: Tracks, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) in frames i and j of the new tracks that both see."""
    in_i, in_j = tracks.common(i, j)
    new = tracks.ids[i][in_i] >= len(old.rgb)
    return tracks.xy[i][in_i[new]], tracks.xy[j][in_j[new]]


def assert_well_formed(tracks: Tracks) -> None:
    for ids, xy in zip(tracks.ids, tracks.xy, strict=True):
        assert (np.diff(ids) > 0).all(), "sorted, and no track twice in a frame"
        assert len(ids) == len(xy)
    assert max(int(ids.max(initial=-1)) for ids in tracks.ids) < len(tracks.rgb)


def test_smooth_video_costs_nothing() -> None:
    pictures = Unread(np.stack([view_of(1, 2 * k) for k in range(5)]))
    tracks = tracks_of_pieces(pictures, [[0, 1, 2, 3, 4]])
    linked, pairs = link_keyframes(pictures, tracks, (0, 2, 4), LinkConfig())
    assert linked is tracks
    assert pairs == ()


def test_wide_steps_are_tied_where_the_tracks_break() -> None:
    pictures = Pictures(np.stack([view_of(1, at) for at in (0, 10, 110, 120, 230)]))
    tracks = tracks_of_pieces(pictures, [[0, 1], [2, 3], [4]])
    linked, pairs = link_keyframes(pictures, tracks, (0, 1, 2, 3, 4), LinkConfig(revisit=NEVER))
    assert (1, 2) in pairs
    assert (3, 4) in pairs
    assert_well_formed(linked)
    for i, j, shift in ((1, 2, 100), (3, 4, 110), (1, 3, 110)):
        before, after = added(linked, tracks, i, j)
        assert len(before) > 60
        # a crop of one picture: SIFT finds the very same place, to a few hundredths of a pixel in the median
        np.testing.assert_allclose(np.median(after - before, axis=0), (-shift, 0), atol=0.05)
    for frame in range(5):
        keep = linked.ids[frame] < len(tracks.rgb)
        np.testing.assert_array_equal(linked.ids[frame][keep], tracks.ids[frame])
        np.testing.assert_array_equal(linked.xy[frame][keep], tracks.xy[frame])


def test_pieces_of_one_place_are_found_across_another() -> None:
    """A, then B, then A again: neighbours do not match, what looks alike does."""
    pictures = Pictures(np.stack([view_of(1, 0), view_of(1, 10), view_of(2, 0), view_of(2, 10), view_of(1, 40)]))
    tracks = tracks_of_pieces(pictures, [[0, 1], [2, 3], [4]])
    _, pairs = link_keyframes(pictures, tracks, (0, 1, 2, 3, 4), LinkConfig(revisit=NEVER, reach=1))
    assert set(pairs) == {(0, 4), (1, 4)}, "both views of A, neither of B"


def test_a_revisit_is_tied_though_no_step_is_weak() -> None:
    pictures = Pictures(np.stack([view_of(1, 0), view_of(1, 60), view_of(2, 0), view_of(1, 60), view_of(1, 4)]))
    tracks = tracks_of_pieces(pictures, [[0, 1, 2, 3, 4]])
    last = tracks.ids[4] + len(GRID)
    tracks = replace(
        tracks,
        ids=(*tracks.ids[:3], np.concatenate([tracks.ids[3], last]), last),
        xy=(*tracks.xy[:3], np.concatenate([GRID, GRID]), GRID),
        rgb=np.full((2 * len(GRID), 3), 50, np.uint8),
    )
    linked, pairs = link_keyframes(pictures, tracks, (0, 1, 2, 3, 4), LinkConfig())
    assert (0, 4) in pairs, "4 px beside the first, and without a common track"
    before, after = added(linked, tracks, 0, 4)
    np.testing.assert_allclose(np.median(after - before, axis=0), (-4, 0), atol=0.05)


def test_a_chain_never_sees_a_frame_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs that contradict each other: the one with most matches is believed, the join that closes wrongly is not."""
    pictures = Pictures(np.stack([view_of(1, 0)] * 3))
    tracks = tracks_of_pieces(pictures, [[0], [1], [2]])
    place = {0: "first", 1: "second", 2: "third"}
    said = {
        ("first", "second"): [(0, 0), (1, 1), (2, 2)],
        ("second", "third"): [(0, 0), (1, 1)],
        ("first", "third"): [(1, 0)],  # 0-0-0 is a chain already: 1 of the first frame cannot join it
    }
    order = iter(range(3))

    def described(rgb: np.ndarray, config: object) -> Features:
        rgb_rows = np.full((3, 3), next(order), np.uint8)
        xy = np.arange(6, dtype=np.float32).reshape(3, 2)
        return Features(xy=xy, rgb=rgb_rows, descriptor=np.eye(3, 128, dtype=np.float32))

    def matched(a: Features, b: Features, config: object) -> np.ndarray:
        return np.array(said[place[int(a.rgb[0, 0])], place[int(b.rgb[0, 0])]])

    monkeypatch.setattr(links, "describe", described)
    monkeypatch.setattr(links, "match", matched)
    linked, pairs = link_keyframes(pictures, tracks, (0, 1, 2), LinkConfig(revisit=NEVER))
    assert pairs == ((0, 1), (0, 2), (1, 2))
    assert_well_formed(linked)
    new = [
        {int(ids): tuple(xy) for ids, xy in zip(linked.ids[f], linked.xy[f], strict=True) if ids >= len(tracks.rgb)}
        for f in range(3)
    ]
    chains = {number: tuple(new[f].get(number) for f in range(3)) for number in sorted(set().union(*new))}
    a, b, c = (0.0, 1.0), (2.0, 3.0), (4.0, 5.0)
    assert set(chains.values()) == {(a, a, a), (b, b, b), (c, c, None)}
