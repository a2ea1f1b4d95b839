"""Scale from the camera's height, on a street made of points: road, facades, clutter and wild triangulations."""

import dataclasses

import numpy as np
import pytest

from tests.annotate_doubles import NO_FILE, annotation_of, no_trajectory_of, path_of, points_of
from wmkit.annotate.protocols import Unmeasured
from wmkit.annotate.scale.camera_height import CameraHeightConfig
from wmkit.camera import ScaleVote
from wmkit.clip import Annotation
from wmkit.errors import InputError

HEIGHT_M = 1.65
UNIT_M = 20.0  # metres in one trajectory unit: what the cue has to find
CONFIG = CameraHeightConfig(height_m=HEIGHT_M)


def street(
    rng: np.random.Generator, height_m: float = HEIGHT_M, ground: int = 400, pitch_deg: float = 0.0
) -> Annotation:
    """A camera that drives 30 m along z, `height_m` above a road, looking `pitch_deg` down; up to scale."""
    z = np.linspace(0, 30, 40)
    bounce = 0.01 * rng.standard_normal(len(z))  # springs: 1 cm
    position = np.stack([np.zeros_like(z), bounce, z], axis=1)
    c, s = np.cos(np.radians(pitch_deg)), np.sin(np.radians(pitch_deg))
    rotation = np.broadcast_to(np.array([[1, 0, 0], [0, c, s], [0, -s, c]]), (len(z), 3, 3))

    def spread(count: int, low: tuple, high: tuple) -> np.ndarray:
        return rng.uniform(low, high, (count, 3))

    road = spread(ground, (-4, height_m, 2), (4, height_m, 45))
    left, right = spread(500, (-8, -6, 2), (-8, height_m, 60)), spread(500, (8, -6, 2), (8, height_m, 60))
    cars = spread(150, (2.5, 0.2, 5), (4, height_m, 40))
    wild = spread(150, (-10, -10, 0), (10, 10, 60))
    xyz = np.concatenate([road, left, right, cars, wild])
    away = np.linalg.norm(xyz[:, None] - position, axis=2).min(axis=1)
    xyz += 0.01 * away[:, None] * rng.standard_normal(xyz.shape)  # triangulation errs by 1 % of the distance
    return annotation_of(path_of(position / UNIT_M, rotation), points_of(xyz / UNIT_M))


def vote(annotation: Annotation, config: CameraHeightConfig = CONFIG) -> ScaleVote:
    opinion = config.build("cpu").vote(annotation, NO_FILE)
    assert isinstance(opinion, ScaleVote), opinion
    return opinion


@pytest.mark.parametrize("pitch_deg", [-10.0, 0.0, 15.0])
def test_the_scale_is_found_among_walls_cars_and_outliers(pitch_deg: float) -> None:
    opinion = vote(street(np.random.default_rng(1), pitch_deg=pitch_deg))
    # 400 points of 1 % noise pin the plane to a few millimetres; 1 % leaves room for the cars' feet in the fit.
    assert opinion.value == pytest.approx(UNIT_M, rel=0.01)
    assert opinion.cue == "camera_height"
    assert 0.03 <= opinion.sigma_log < 0.05  # the stated height's own 3 % dominates


def test_the_interval_covers_the_truth_19_times_in_20() -> None:
    covered = 0
    for draw in range(200):
        rng = np.random.default_rng(draw)
        true_height_m = HEIGHT_M * np.exp(CONFIG.height_sigma * rng.standard_normal())
        opinion = vote(street(rng, true_height_m, ground=150))
        covered += abs(np.log(opinion.value / UNIT_M)) <= 1.96 * opinion.sigma_log
    # Binomial(200, 0.95) has a standard deviation of 3.1: never fewer than three of them below. Above, sigma may err
    # on the wide side, since it also covers a ground that is not one plane.
    assert covered >= 181


def test_the_floor_wins_against_a_table_with_more_points() -> None:
    rng = np.random.default_rng(2)
    position = np.stack([np.linspace(-0.5, 0.5, 20), np.zeros(20), np.zeros(20)], axis=1)
    floor = rng.uniform((-2, 1.5, 1), (2, 1.5, 4), (200, 3))
    table = rng.uniform((-0.7, 0.75, 1.2), (0.7, 0.75, 2.4), (350, 3))
    noise = 0.004 * rng.standard_normal((550, 3))
    annotation = annotation_of(path_of(position), points_of(np.concatenate([floor, table]) + noise))
    # Half a percent of noise at 2 m on 1.5 m of height; the table would give a scale of 2.
    assert vote(annotation, CameraHeightConfig(height_m=1.5)).value == pytest.approx(1.0, rel=0.01)


def test_same_annotation_same_vote_and_other_seeds_agree() -> None:
    annotation = street(np.random.default_rng(3))
    assert vote(annotation) == vote(annotation)
    reseeded = dataclasses.replace(annotation, provenance=dataclasses.replace(annotation.provenance, seed=1))
    # RANSAC only starts the refinement; another start may settle on a few other points, well inside sigma.
    assert vote(reseeded).value == pytest.approx(vote(annotation).value, rel=0.01)


def test_unposed_frames_have_no_say() -> None:
    annotation = street(np.random.default_rng(4))
    assert annotation.trajectory is not None
    world_from_cam = annotation.trajectory.world_from_cam.copy()
    world_from_cam[5:20] = np.nan
    assert vote(annotation_of(world_from_cam, annotation.points)).value == pytest.approx(UNIT_M, rel=0.02)


def only_facades(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform((-8, -6, 2), (-8, 1.6, 60), (800, 3)) / UNIT_M


def a_line(rng: np.random.Generator) -> np.ndarray:
    return np.stack([np.zeros(200), np.full(200, 1.65), rng.uniform(2, 45, 200)], axis=1) / UNIT_M


@pytest.mark.parametrize(
    ("make", "reasons"),
    [
        (lambda rng: np.zeros((0, 3)), {"too_few_ground_points"}),
        (lambda rng: rng.uniform((-1, -1, 1), (1, -0.1, 2), (500, 3)), {"too_few_ground_points"}),  # sky and ceiling
        (only_facades, {"no_ground_plane", "ground_plane_too_uncertain"}),
        (a_line, {"no_ground_plane"}),
    ],
    ids=["nothing", "all above", "only facades", "one line"],
)
def test_without_a_ground_there_is_no_vote(make, reasons: set[str]) -> None:
    rng = np.random.default_rng(5)
    position = np.stack([np.zeros(40), np.zeros(40), np.linspace(0, 30, 40)], axis=1) / UNIT_M
    opinion = CONFIG.build("cpu").vote(annotation_of(path_of(position), points_of(make(rng))), NO_FILE)
    assert isinstance(opinion, Unmeasured)
    assert opinion.reason in reasons


def test_without_points_or_trajectory_or_upright_camera_there_is_no_vote() -> None:
    cue = CONFIG.build("cpu")
    assert cue.vote(no_trajectory_of(), NO_FILE) == Unmeasured(reason="no_trajectory")
    assert cue.vote(annotation_of(path_of([[0, 0, 0], [1, 0, 0]])), NO_FILE) == Unmeasured(reason="no_points")
    upside_down = np.stack([np.eye(3), np.diag([-1.0, -1.0, 1.0])])
    rolled = annotation_of(path_of(np.array([[0, 0, 0], [1, 0, 0]]), upside_down), points_of(np.ones((50, 3))))
    assert cue.vote(rolled, NO_FILE) == Unmeasured(reason="no_upright_camera")


@pytest.mark.parametrize("height_m", [0.0, -1.65, float("nan"), float("inf")])
def test_a_height_that_is_none_is_refused(height_m: float) -> None:
    with pytest.raises(InputError, match="--camera-height"):
        CameraHeightConfig(height_m=height_m)


def test_a_spread_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="height_sigma"):
        CameraHeightConfig(height_m=1.0, height_sigma=1.5)
