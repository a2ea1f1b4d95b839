"""Features of a picture and of the same picture under a known homography."""

import cv2
import numpy as np
import pytest

from tests.unit.annotate.pose.test_tracks import texture
from wmkit.annotate.pose.features import FeatureConfig, Features, describe, match

CONFIG = FeatureConfig()
HALF = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # OpenCV's pixels to ours, whose centres are at half-integers
TURN = np.radians(12)
HOMOGRAPHY = np.array(
    [
        [1.25 * np.cos(TURN), -1.25 * np.sin(TURN), 30.0],
        [1.25 * np.sin(TURN), 1.25 * np.cos(TURN), -70.0],
        [1e-4, -5e-5, 1.0],
    ]
)


def seen_through(picture: np.ndarray, homography: np.ndarray) -> np.ndarray:
    """The picture with every point x of it moved to `homography` x, in px with centres at half-integers."""
    height, width = picture.shape[:2]
    inside = np.linalg.inv(HALF) @ homography @ HALF
    return np.asarray(cv2.warpPerspective(picture, inside, (width, height), flags=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    picture = np.clip(texture(5), 0, 255).astype(np.uint8)
    return picture, seen_through(picture, HOMOGRAPHY)


def test_matches_follow_a_known_homography(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = (describe(picture, CONFIG) for picture in pair)
    pairs = match(a, b, CONFIG)
    assert len(pairs) > 150
    moved = np.column_stack([a.xy[pairs[:, 0]], np.ones(len(pairs))]) @ HOMOGRAPHY.T
    off = b.xy[pairs[:, 1]] - moved[:, :2] / moved[:, 2:]
    assert (np.linalg.norm(off, axis=1) < 1.5).mean() > 0.95
    # a quarter of a pixel off in both pictures would show as 0.11 px: the picture is scaled by 1.25
    np.testing.assert_allclose(np.median(off, axis=0), 0, atol=0.05)
    assert len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1])) == len(pairs), "no feature is used twice"


def test_other_pictures_do_not_match(pair: tuple[np.ndarray, np.ndarray]) -> None:
    other = describe(np.clip(texture(6), 0, 255).astype(np.uint8), CONFIG)
    assert match(describe(pair[0], CONFIG), other, CONFIG).shape == (0, 2)


def test_features_are_one_a_place_strongest_first_with_their_colour(pair: tuple[np.ndarray, np.ndarray]) -> None:
    picture = pair[0].copy()
    picture[..., 1] //= 2
    found = describe(picture, CONFIG)
    assert len(np.unique(np.round(found.xy, 2), axis=0)) == len(found.xy)
    np.testing.assert_allclose(np.linalg.norm(found.descriptor, axis=1), 1, atol=1e-5)
    height, width = picture.shape[:2]
    assert ((found.xy >= 0) & (found.xy <= (width, height))).all()
    column, row = np.floor(found.xy[:50]).astype(int).T
    np.testing.assert_array_equal(found.rgb[:50], picture[row, column])
    points, _ = cv2.SIFT.create(
        nfeatures=4000, contrastThreshold=CONFIG.contrast, enable_precise_upscale=True
    ).detectAndCompute(
        np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8),
        None,  # pyright: ignore[reportArgumentType, reportCallIssue]
    )
    strength = {
        (round(p.pt[0] + 0.5, 2), round(p.pt[1] + 0.5, 2)): p.response for p in sorted(points, key=lambda p: p.response)
    }
    order = [strength[round(float(x), 2), round(float(y), 2)] for x, y in found.xy]
    assert order == sorted(order, reverse=True)


def test_a_blank_picture_has_none() -> None:
    blank = describe(np.full((120, 160, 3), 90, np.uint8), CONFIG)
    assert blank.xy.shape == (0, 2)
    assert match(blank, blank, CONFIG).shape == (0, 2)


def test_few_or_ambiguous_features_do_not_match() -> None:
    rng = np.random.default_rng(0)
    descriptor = np.abs(rng.normal(size=(40, 128))).astype(np.float32)
    descriptor /= np.linalg.norm(descriptor, axis=1, keepdims=True)
    xy = rng.uniform(0, 300, (40, 2)).astype(np.float32)
    rgb = np.zeros((40, 3), np.uint8)
    once = Features(xy=xy, rgb=rgb, descriptor=descriptor)
    moved = Features(xy=xy + np.float32(5), rgb=rgb, descriptor=descriptor)
    assert len(match(once, moved, CONFIG)) == 40
    few = Features(xy=xy[:10], rgb=rgb[:10], descriptor=descriptor[:10])
    assert len(match(few, moved, CONFIG)) == 0, "ten agree with anything"
    # everything twice and nearly alike: the best match is hardly better than its runner-up
    blurred = [descriptor + rng.normal(0, 0.01, descriptor.shape).astype(np.float32) for _ in range(2)]
    stacked = np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True) for part in blurred])
    twice = Features(xy=np.tile(xy, (2, 1)), rgb=np.tile(rgb, (2, 1)), descriptor=stacked)
    assert len(match(once, Features(xy=xy, rgb=rgb, descriptor=stacked[:40]), CONFIG)) == 40
    assert len(match(once, twice, CONFIG)) == 0
