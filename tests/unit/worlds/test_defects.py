"""Every planted defect is what its row says, at the severity that stands there."""

import dataclasses
from pathlib import Path

import av
import numpy as np
import pytest

from wmkit.clip import rng_for
from wmkit.errors import InputError
from wmkit.video import VideoConfig, discover, identify, open_source
from wmkit.video.container_tags import container_tags
from wmkit.worlds.defects import DEFECTS, Footage, faded
from wmkit.worlds.footage_file import write_footage

TABLE = {defect.name: defect for defect in DEFECTS}
COUNT, HEIGHT, WIDTH, FPS = 32, 64, 96, 10.0


def footage(seed: int = 0) -> Footage:
    """A textured wall that slides by, with labels of a straight path."""
    wall = np.random.default_rng(seed).integers(30, 220, (HEIGHT // 4, 60, 3)).repeat(4, axis=0).repeat(4, axis=1)
    poses = np.tile(np.eye(4), (COUNT, 1, 1))
    poses[:, 0, 3] = 0.1 * np.arange(COUNT)
    return Footage(
        rgb=np.stack([wall[:, 2 * k : 2 * k + WIDTH] for k in range(COUNT)]).astype(np.uint8),
        time_s=np.arange(COUNT) / FPS,
        world_from_cam=poses,
        intrinsics=np.tile([80.0, 80.0, WIDTH / 2, HEIGHT / 2], (COUNT, 1)),
    )


def planted(name: str, draw: int = 0) -> Footage:
    return TABLE[name].plant(footage(), footage(1), rng_for(draw, name, "test"))


def same(one: Footage, other: Footage) -> np.ndarray:
    """(N,) frames that are equal."""
    return (one.rgb == other.rgb).all(axis=(1, 2, 3))


def test_names_are_told_once_and_every_row_has_words() -> None:
    assert len(TABLE) == len(DEFECTS)
    assert all(defect.what and defect.name.replace("_", "a").isalnum() for defect in DEFECTS)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_the_same_draw_is_the_same_footage_and_the_sound_one_stays_as_it_was(defect) -> None:
    sound = footage()
    first, again = (defect.plant(sound, footage(1), rng_for(3, defect.name, "test")) for _ in range(2))
    np.testing.assert_array_equal(first.rgb, again.rgb)
    np.testing.assert_array_equal(first.time_s, again.time_s)
    np.testing.assert_array_equal(sound.rgb, footage().rgb)
    changed = not same(first, sound).all() or not np.array_equal(first.time_s, sound.time_s)
    changed |= first.tags != () or first.damaged > 0
    changed |= not np.array_equal(np.asarray(first.world_from_cam), np.asarray(sound.world_from_cam))
    assert changed == (not defect.family)  # a family is the defect itself


def test_cuts_reach_both_ends() -> None:
    cuts = {int(np.argmin(same(planted("hard_cut", draw), footage()))) for draw in range(300)}
    assert cuts == set(range(1, COUNT))  # 300 draws of 31 places: one is left out once in 1,700 runs of other seeds


@pytest.mark.parametrize(("name", "between"), [("cross_fade", 8), ("cross_fade_4", 4), ("cross_fade_16", 16)])
def test_a_fade_has_so_many_frames_between_two_shots(name: str, between: int) -> None:
    for draw in range(20):
        shot = planted(name, draw)
        first, second = same(shot, footage()), same(shot, footage(1))
        assert (~first & ~second).sum() == between
        assert first.sum() >= 3
        assert second.sum() >= 3


def test_a_fade_is_even() -> None:
    dark, bright = np.zeros((8, 2, 2, 3), np.uint8), np.full((8, 2, 2, 3), 100, np.uint8)
    assert faded(dark, bright, start=2, between=3)[:, 0, 0, 0].tolist() == [0, 0, 25, 50, 75, 100, 100, 100]


@pytest.mark.parametrize(("name", "axis"), [("letterbox", 1), ("pillarbox", 2)])
def test_bars_take_three_percent_on_either_side(name: str, axis: int) -> None:
    rgb = np.moveaxis(planted(name).rgb, axis, 1)
    wide = round(0.03 * rgb.shape[1])
    assert rgb[:, :wide].std() == rgb[:, -wide:].std() == 0
    assert rgb[:, wide].std() > 0


def test_one_frame_in_eight_is_shown_twice() -> None:
    rgb = planted("duplicated").rgb
    assert (rgb[1:] == rgb[:-1]).all(axis=(1, 2, 3)).sum() == COUNT // 8


def test_a_second_passes_without_a_new_frame() -> None:
    rgb = planted("frozen").rgb
    assert (rgb[1:] == rgb[:-1]).all(axis=(1, 2, 3)).sum() == round(FPS)


def test_a_stop_is_a_doubling_of_light() -> None:
    shot = planted("exposure_jump").rgb.astype(float) / footage().rgb
    gain = np.median(shot, axis=(1, 2, 3)) ** 2.2
    # grey levels are rounded and some burn out, the median does not: 2 %
    assert set(np.round(gain, 1).tolist()) in ({1.0, 2.0}, {1.0, 0.5})


def test_black_frames_are_two_and_black() -> None:
    assert (planted("black_frames").rgb.max(axis=(1, 2, 3)) == 0).sum() == 2


def test_time_goes_on_after_a_gap_and_jitter_keeps_the_order() -> None:
    assert np.diff(planted("time_gap").time_s).max() == pytest.approx(2 + 1 / FPS)
    step_s = np.diff(planted("frame_rate_jitter").time_s) * FPS
    assert step_s.min() >= 1 / 3
    assert step_s.max() <= 3
    assert step_s.std() / step_s.mean() > 0.4


def test_a_zoom_is_a_factor_of_one_point_three_about_the_middle() -> None:
    sound = footage()
    dots = np.zeros_like(sound.rgb)
    dots[:, 31:33, 47:49] = dots[:, 31:33, 77:79] = 255  # in the middle, and 30 px beside it
    shot = TABLE["zoom"].plant(dataclasses.replace(sound, rgb=dots), sound, rng_for(0, "zoom", "test")).rgb
    light = shot[:, 28:36, :, 0].astype(float).sum(axis=1)
    columns = np.arange(WIDTH) + 0.5
    beside = (light[:, 60:] * columns[60:]).sum(axis=1) / light[:, 60:].sum(axis=1) - WIDTH / 2
    # a dot of two px, resampled: its middle lies within a tenth of a px
    assert sorted((beside.min(), beside.max())) == pytest.approx([30.0, 39.0], abs=0.1)


def test_half_of_the_picture_is_another_footage() -> None:
    for draw in range(8):
        changed = (planted("half_moving", draw).rgb != footage().rgb).any(axis=3).mean()
        assert changed == pytest.approx(0.5, abs=0.02)  # two random walls agree in places


def test_labels_grow_at_a_frame_and_pictures_do_not_change() -> None:
    shot = planted("scale_jump")
    assert same(shot, footage()).all()
    assert shot.world_from_cam is not None
    step = np.diff(shot.world_from_cam[:, 0, 3]) / 0.1
    assert sorted({round(value, 9) for value in step.tolist()}) in ([1.0, 1.3], [round(1 / 1.3, 9), 1.0])


def test_wrong_footage_is_refused() -> None:
    sound = footage()
    with pytest.raises(InputError, match="as many times"):
        dataclasses.replace(sound, time_s=sound.time_s[:-1])
    with pytest.raises(InputError, match="labels"):
        dataclasses.replace(sound, intrinsics=np.zeros((2, 4)))
    with pytest.raises(InputError, match="expected footage with labels"):
        TABLE["scale_jump"].plant(dataclasses.replace(sound, world_from_cam=None), sound, rng_for(0, "x", "test"))


def opened(path: Path):
    return open_source(identify(discover([path]).clips[0]), VideoConfig(fps=None))


@pytest.mark.parametrize("name", ["time_gap", "frame_rate_jitter", "black_frames"])
def test_a_file_has_the_frames_at_their_times(tmp_path: Path, name: str) -> None:
    shot = planted(name)
    write_footage(tmp_path / "clip.mp4", shot, rng_for(0, name, "test"))
    facts = opened(tmp_path / "clip.mp4").facts
    # ticks of 1/16000 s
    np.testing.assert_allclose(facts.pts_s - facts.pts_s[0], shot.time_s, atol=1e-4)
    assert not facts.corrupt.any()
    assert facts.errors == ()


def test_a_file_has_its_tags(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_footage(path, planted("slow_motion"), rng_for(0, "x", "test"))
    tags = dict(container_tags(identify(discover([path]).clips[0])))
    assert float(tags["com.android.capture.fps"]) == pytest.approx(8 * FPS)


def test_damage_is_in_one_coded_frame(tmp_path: Path) -> None:
    sound, broken = tmp_path / "sound.mp4", tmp_path / "broken.mp4"
    for path, shot in ((sound, footage()), (broken, planted("corrupt_slice"))):
        write_footage(path, shot, rng_for(0, "x", "test"))
    packets = []
    for path in (sound, broken):
        with av.open(str(path)) as container:
            packets.append([bytes(packet) for packet in container.demux(video=0) if packet.size])
    assert sum(one != other for one, other in zip(*packets, strict=True)) == 1
    facts = opened(broken).facts
    assert facts.corrupt.sum() + len(facts.errors) > 0
