"""Footage filters on pictures whose motion and cuts are known, and on the real clips."""

import dataclasses
import re
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data, transform

from tests.annotate_doubles import ArraySource, shown
from wmkit.annotate.filters import transnet
from wmkit.annotate.filters.ai_generated import AiGeneratedConfig
from wmkit.annotate.filters.blank_share import BlankShareConfig
from wmkit.annotate.filters.blur import BlurConfig
from wmkit.annotate.filters.corrupt_share import CorruptShareConfig
from wmkit.annotate.filters.cross_fade import CrossFadeConfig
from wmkit.annotate.filters.duplicate_share import DuplicateShareConfig
from wmkit.annotate.filters.exposure_jump import ExposureJumpConfig
from wmkit.annotate.filters.flow_magnitude import FlowMagnitudeConfig
from wmkit.annotate.filters.frame_rate_jitter import FrameRateJitterConfig
from wmkit.annotate.filters.frozen_s import FrozenSConfig
from wmkit.annotate.filters.hard_cut import HardCutConfig
from wmkit.annotate.filters.letterbox_share import LetterboxShareConfig
from wmkit.annotate.filters.luminance import LuminanceConfig
from wmkit.annotate.filters.overlay_share import OverlayShareConfig
from wmkit.annotate.filters.play_speed import PlaySpeedConfig
from wmkit.annotate.filters.saturation import SaturationConfig
from wmkit.annotate.filters.static_camera import StaticCameraConfig
from wmkit.annotate.filters.time_gap import TimeGapConfig
from wmkit.annotate.filters.vmaf_motion import VmafMotionConfig
from wmkit.clip import Verdict
from wmkit.errors import ConfigError
from wmkit.thresholds import read_thresholds
from wmkit.video import VideoConfig, discover, identify, open_source
from wmkit.video.container_tags import SOURCE_TYPE, container_tags, provenance_marks
from wmkit.video.frames import UNTIMED

WIDTH, HEIGHT, FPS = 200, 150, 10.0


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """(400, 600, 3) uint8: a picture with texture everywhere."""
    return np.asarray(transform.resize(data.chelsea(), (400, 600)) * 255).round().astype(np.uint8)


def pan(photo: np.ndarray, shifts: list[int], size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """(N, h, w, 3): windows of `photo` that start at the given columns."""
    return np.stack([photo[100 : 100 + size[1], shift : shift + size[0]] for shift in shifts])


def measure(config, rgb: np.ndarray) -> Verdict:
    return shown(config, ArraySource(rgb, FPS))


def test_a_pan_of_whole_pixels_has_its_own_speed(photo: np.ndarray) -> None:
    verdict = measure(StaticCameraConfig(), pan(photo, list(range(0, 60, 4))))
    # Lucas-Kanade stops at 0.03 px of an exact 4 px shift, and the border's points err by more: 2 % in the median.
    assert verdict.value == pytest.approx(4 / np.hypot(WIDTH, HEIGHT) * FPS, rel=0.02)
    assert verdict.unit == "diagonal/s"


def test_the_speed_is_a_share_of_the_picture_whatever_its_size(photo: np.ndarray) -> None:
    once = pan(photo, list(range(0, 40, 4)), (400, 260))
    twice = np.repeat(np.repeat(once, 2, axis=1), 2, axis=2)
    small, large = (measure(StaticCameraConfig(), rgb).value for rgb in (once, twice))
    # Both are shrunk to a long side of 256 px; only the resampling differs.
    assert small is not None
    assert large == pytest.approx(small, rel=0.02)


def test_a_moving_subject_does_not_move_the_camera(photo: np.ndarray) -> None:
    rgb = pan(photo, [50] * 12)
    subject = np.random.default_rng(0).integers(0, 255, (90, 60, 3), dtype=np.uint8)
    for index, frame in enumerate(rgb):
        frame[30:120, 5 + 8 * index : 65 + 8 * index] = subject  # a quarter of the picture at 0.3 diagonals a second
    value = measure(StaticCameraConfig(), rgb).value
    assert value is not None
    # Fewer than half of the points are covered or uncovered, so the median stands still but for LK's 0.03 px.
    assert value < 0.003


def test_a_still_camera_measures_zero(photo: np.ndarray) -> None:
    assert measure(StaticCameraConfig(), pan(photo, [50] * 5)).value == 0.0


def test_a_blank_clip_has_no_motion_to_measure() -> None:
    verdict = measure(StaticCameraConfig(), np.zeros((8, 48, 64, 3), dtype=np.uint8))
    assert verdict.reason == "too_few_tracks"


def test_a_cut_does_not_count_as_motion(photo: np.ndarray) -> None:
    other = np.random.default_rng(1).integers(0, 255, (6, HEIGHT, WIDTH, 3), dtype=np.uint8)[:1].repeat(6, axis=0)
    value = measure(StaticCameraConfig(), np.concatenate([pan(photo, [50] * 6), other])).value
    assert value is not None
    # One pair in eleven is the cut; chance tracks across it may survive, but not carry the average.
    assert value < 0.02


def test_cuts_are_counted(photo: np.ndarray) -> None:
    inverse = 255 - photo
    rgb = np.concatenate(
        [pan(photo, [0, 2, 4, 6, 8]), pan(inverse, [90, 92, 94, 96]), pan(photo, [200, 202, 204, 206])]
    )
    verdict = measure(HardCutConfig(), rgb)
    assert (verdict.value, verdict.unit) == (2.0, "cuts")


def test_a_fast_pan_is_not_a_cut(photo: np.ndarray) -> None:
    rgb = pan(photo, list(range(0, 300, 25)))  # an eighth of the picture a frame
    assert measure(HardCutConfig(), rgb).value == 0.0


def test_fewer_frames_than_the_window_are_unmeasured(photo: np.ndarray) -> None:
    assert measure(HardCutConfig(), pan(photo, [0, 1, 2, 3])).reason == "too_few_frames"
    assert measure(HardCutConfig(), pan(photo, [0, 1, 2, 3, 4])).value == 0.0


@pytest.mark.parametrize("config", [StaticCameraConfig(), HardCutConfig()], ids=lambda config: config.name)
def test_one_pass_over_the_frames_is_enough(config, photo: np.ndarray) -> None:
    source = ArraySource(pan(photo, list(range(70))))  # more than one window of 64
    shown(config, source)
    assert source.passes == 1


def measure_file(config, path: Path) -> float:
    (found,) = discover([path]).clips
    source = open_source(identify(found), VideoConfig())
    value = shown(config, source).value
    assert value is not None
    return value


def test_real_cuts(shared_data: Path) -> None:
    assert measure_file(HardCutConfig(), shared_data / "awkward" / "hard_cut.mp4") == 1.0
    # Motion blur, exposure that pumps, a subject that fills the picture: no cut in any of these.
    for name in ("awkward/flash_exposure.mp4", "raw/davis_lady_running.mp4", "posed/sevenscenes_kitchen/video.mp4"):
        assert measure_file(HardCutConfig(), shared_data / name) == 0.0, name


def test_real_cameras_that_stand_still_are_told_from_those_that_move(shared_data: Path) -> None:
    still = measure_file(StaticCameraConfig(), shared_data / "raw" / "coffee_static.mp4")
    moving = [
        measure_file(StaticCameraConfig(), shared_data / name)
        for name in ("raw/carphone.mp4", "posed/kitti06_gray/video.mp4", "posed/sevenscenes_kitchen/video.mp4")
    ]
    # Measured 0.005 against 0.057, 0.12 and 0.12: a factor of five leaves room for other codecs' noise.
    assert still * 5 < min(moving)


def drift(photo: np.ndarray, count: int = 24) -> np.ndarray:
    """A slow pan with a little noise: sound footage."""
    noise = np.random.default_rng(2).normal(0, 1.5, (count, HEIGHT, WIDTH, 3))
    return np.clip(pan(photo, list(range(0, 3 * count, 3))) + noise, 0, 255).astype(np.uint8)


def value(config, rgb: np.ndarray) -> float:
    found = measure(config, rgb).value
    assert found is not None
    return found


def test_every_eighth_frame_twice_is_an_eighth(photo: np.ndarray) -> None:
    sound = drift(photo, 33)
    assert value(DuplicateShareConfig(), sound) == 0.0
    order = [index - (index % 8 == 7) for index in range(33)]
    assert value(DuplicateShareConfig(), sound[order]) == pytest.approx(4 / 32)
    assert measure(DuplicateShareConfig(), sound[[0] * 9]).reason == "nothing_moves"


def test_a_second_frozen_is_a_second(photo: np.ndarray) -> None:
    sound = drift(photo, 30)
    assert value(FrozenSConfig(), sound) == 0.0
    stalled = np.concatenate([sound[:10], sound[[10] * 11], sound[11:]])
    assert value(FrozenSConfig(), stalled) == pytest.approx(1.0)


def test_black_white_and_empty_frames_are_counted(photo: np.ndarray) -> None:
    sound = drift(photo, 12)
    assert value(BlankShareConfig(), sound) == 0.0
    sound[3], sound[4], sound[5] = 0, 255, 90
    assert value(BlankShareConfig(), sound) == pytest.approx(3 / 12)


@pytest.mark.parametrize("grey", [0, 16, 255])
def test_bars_are_measured_on_either_side(photo: np.ndarray, grey: int) -> None:
    sound = drift(photo, 12)
    assert value(LetterboxShareConfig(), sound) == 0.0
    boxed = sound.copy()
    boxed[:, :15], boxed[:, -15:] = grey, grey
    assert value(LetterboxShareConfig(), boxed) == pytest.approx(30 / HEIGHT)
    boxed[:, :, :20] = grey
    assert value(LetterboxShareConfig(), boxed) == pytest.approx(1 - 0.8 * 0.9)
    corner = sound.copy()
    corner[:, :15, :] = 0
    corner[:, 15:60, 70:] = 0  # darkness that ends in no line
    assert value(LetterboxShareConfig(), corner) == 0.0
    night = sound // 20  # so dark that all of it lies within 13 levels, and yet no bar
    assert measure(LetterboxShareConfig(), night).value in (0.0, None)


FADE = next(float(row.high or 0) for row in read_thresholds().rows if row.filter == "cross_fade")


def test_a_cross_fade_is_seen_and_neither_a_cut_nor_a_pan_nor_a_flash(photo: np.ndarray) -> None:
    first, second = drift(photo, 30), drift(255 - photo[:, ::-1], 30)
    share = np.clip((np.arange(30) - 11) / 9, 0, 1)[:, None, None, None]  # eight frames in between
    faded = ((1 - share) * first + share * second).astype(np.uint8)
    assert value(CrossFadeConfig(), faded) > FADE
    assert value(CrossFadeConfig(), first) < FADE
    assert value(CrossFadeConfig(), np.concatenate([first[:15], second[:15]])) == 0.0
    fast = pan(photo, list(range(0, 375, 25)))
    assert value(CrossFadeConfig(), fast) < FADE
    light = np.linspace(0.4, 1.2, 30)[:, None, None, None]
    assert value(CrossFadeConfig(), np.clip(first * light, 0, 255).astype(np.uint8)) < FADE
    assert measure(CrossFadeConfig(), first[:4]).reason == "too_few_frames"


def test_a_fade_is_seen_in_any_block_of_a_long_clip(photo: np.ndarray) -> None:
    """The network sees blocks of fifty: at a border, in the last and shortest, and beyond the first."""
    first, second = drift(photo, 40), drift(255 - photo[:, ::-1], 40)
    share = np.clip((np.arange(40) - 15) / 9, 0, 1)[:, None, None, None]
    faded = ((1 - share) * first + share * second).astype(np.uint8)
    still = first[:1]
    for before, after in ((0, 100), (31, 20), (80, 0), (110, 60)):
        clip = np.concatenate([still.repeat(before, 0), faded, second[-1:].repeat(after, 0)])
        assert value(CrossFadeConfig(), clip) > FADE, (before, after)


def test_the_network_sees_what_its_own_procedure_shows_it(photo: np.ndarray) -> None:
    """Frames streamed through `CrossFadeConfig` reach the network as the package's `predict_frames` cuts them."""
    import torch

    network = transnet.loaded("cpu")
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (131, 27, 48, 3), dtype=np.uint8)
    with torch.inference_mode():
        _, wanted = network.network.predict_frames(torch.from_numpy(rgb), quiet=True)
    first = np.concatenate([rgb[:1].repeat(25, 0), rgb[:75]])
    last = np.concatenate([rgb[75:], rgb[-1:].repeat(100 - 56, 0)])
    np.testing.assert_array_equal(network.in_transition(first), wanted[:50].double().numpy())
    np.testing.assert_array_equal(network.in_transition(last)[:31], wanted[100:].double().numpy())


@pytest.mark.parametrize("between", [4, 6, 8, 12, 16])
def test_fades_of_any_usual_length_are_seen_between_moving_shots(between: int) -> None:
    rng = np.random.default_rng(between)
    shots = [transform.resize(picture(), (400, 600)) * 255 for picture in (data.astronaut, data.coffee, data.rocket)]
    shots.append(data.chelsea()[:300, :450].repeat(2, axis=0).repeat(2, axis=1)[:400, :600].astype(float))
    seen = 0
    for trial in range(5):
        one, other = rng.permutation(4)[:2]
        share = np.clip((np.arange(32) - 7) / (between + 1), 0, 1)[:, None, None, None]
        # up to 1.5 % of the width a frame, either way: a brisk walk, looking about
        speed = rng.integers(-3, 4, 2)
        ends = [
            pan(shots[k], list(150 + v * np.arange(32)), (300, 200)) for k, v in zip((one, other), speed, strict=True)
        ]
        faded = ((1 - share) * ends[0] + share * ends[1]).astype(np.uint8)
        assert value(CrossFadeConfig(), ends[0].astype(np.uint8)) < FADE, trial
        seen += value(CrossFadeConfig(), faded) > FADE
    # 159 of 160 fades of eight frames were seen when the limit was chosen (LOG.md): a miss in five is chance
    assert seen >= 4


def test_a_fade_to_black_is_a_fade_and_a_dimmed_light_is_not(photo: np.ndarray) -> None:
    light = np.clip(1 - (np.arange(30) - 8) / 9, 0, 1)[:, None, None, None]
    assert value(CrossFadeConfig(), (light * drift(photo, 30)).astype(np.uint8)) > FADE
    sound = pan(photo, list(range(30)))
    assert value(CrossFadeConfig(), ((0.3 + 0.7 * light) * sound).astype(np.uint8)) < FADE


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transnet, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(ConfigError, match=r"expected weights of sha256 000000000000\.\.\., got a313d0b3bebf"):
        transnet.TransNet("cpu")


def test_one_stop_is_one_stop(photo: np.ndarray) -> None:
    sound = drift(photo // 2 + 20)
    assert value(ExposureJumpConfig(), sound) < 0.15
    stop = 2 ** (1 / 2.2)
    jump = sound.astype(float)
    jump[12:] *= stop
    # rounding to 8 bits and the pan between the two frames
    assert value(ExposureJumpConfig(), np.clip(jump, 0, 255).astype(np.uint8)) == pytest.approx(1.0, abs=0.15)
    assert measure(ExposureJumpConfig(), np.zeros((4, 40, 40, 3), np.uint8)).reason == "too_dark_or_too_bright"


def test_blur_grows_with_blur(photo: np.ndarray) -> None:
    sharp = drift(photo, 8)
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 3.0) for frame in sharp])
    softer = np.stack([cv2.GaussianBlur(frame, (0, 0), 6.0) for frame in sharp])
    levels = [value(BlurConfig(), rgb) for rgb in (sharp, soft, softer)]
    assert levels[0] + 0.1 < levels[1] < levels[2] <= 1


def test_colour_and_light_are_means() -> None:
    red = np.zeros((3, 20, 20, 3), np.uint8)
    red[..., 0] = 200
    assert value(SaturationConfig(), red) == 255.0
    assert value(LuminanceConfig(), red) == pytest.approx(0.299 * 200, abs=0.5)
    grey = np.full((3, 20, 20, 3), 77, np.uint8)
    assert (value(SaturationConfig(), grey), value(LuminanceConfig(), grey)) == (0.0, 77.0)


def test_flow_is_the_shift_over_half_a_second(photo: np.ndarray) -> None:
    moving = pan(photo, list(range(0, 44, 2)))  # 10 px in half a second, of a picture 200 px long
    assert value(FlowMagnitudeConfig(), moving) == pytest.approx(10 * 640 / WIDTH, rel=0.1)
    assert measure(FlowMagnitudeConfig(), moving[:5]).reason == "shorter_than_half_a_second"


def test_gaps_and_uneven_steps_are_those_of_the_source(photo: np.ndarray) -> None:
    source = ArraySource(pan(photo, [0, 1, 2, 3]), FPS)
    even = dataclasses.replace(source.facts, pts_s=np.arange(20) / 10, corrupt=np.zeros(20, bool))
    pts_s = np.concatenate([np.arange(10) / 10, 2.0 + 0.9 + np.arange(10) / 10])
    gap = dataclasses.replace(even, pts_s=pts_s)
    for config, sound, broken in ((TimeGapConfig(), 1.0, 20.0), (FrameRateJitterConfig(), 0.0, None)):
        assert config.build("cpu").verdict(even).value == pytest.approx(sound, abs=1e-9)
        found = config.build("cpu").verdict(gap).value
        assert found is not None
        assert found == pytest.approx(broken) if broken else found > 0.5
        one = dataclasses.replace(even, pts_s=np.array([0.0]), corrupt=np.zeros(1, bool))
        assert config.build("cpu").verdict(one).reason == "too_few_frames"


def test_damage_is_what_the_decoder_says(photo: np.ndarray) -> None:
    facts = ArraySource(pan(photo, [0, 1, 2, 3]), FPS).facts
    corrupt = np.array([False, True, False, False])
    assert CorruptShareConfig().build("cpu").verdict(facts).value == 0.0
    assert CorruptShareConfig().build("cpu").verdict(dataclasses.replace(facts, corrupt=corrupt)).value == 0.25
    lost = dataclasses.replace(facts, errors=("invalid NAL unit",))
    assert CorruptShareConfig().build("cpu").verdict(lost).value == pytest.approx(0.2)
    untimed = dataclasses.replace(facts, errors=(f"{UNTIMED}: time = index / 25",))  # odd, but no damage
    assert CorruptShareConfig().build("cpu").verdict(untimed).value == 0.0


def test_vmaf_motion_is_that_of_ffmpeg(photo: np.ndarray, tmp_path: Path) -> None:
    moving = pan(photo, list(range(0, 60, 4)))
    raw = tmp_path / "raw.rgb"
    raw.write_bytes(moving.tobytes())
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}"]
    command += ["-i", str(raw), "-vf", "format=yuv444p,vmafmotion", "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    (theirs,) = re.findall(r"VMAF Motion avg: ([0-9.]+)", said)
    # they work in integers: Y to a whole level, the blur to 1/256 of one
    assert value(VmafMotionConfig(), moving) == pytest.approx(float(theirs), rel=0.01)


def test_a_logo_is_its_own_size_and_moving_pictures_have_none(photo: np.ndarray) -> None:
    moving = pan(photo, list(range(0, 120, 4)))
    assert value(OverlayShareConfig(), moving) == 0.0
    logo = moving.copy()
    for x in range(12, 60, 12):
        logo[:, 12:32, x : x + 6] = 255  # four strokes, 42 x 20 px with the gaps that closing fills
    found = value(OverlayShareConfig(), logo)
    # edges are a px or two wider than what they surround
    assert pytest.approx(found, rel=0.4) == 42 * 20 / (WIDTH * HEIGHT)
    boxed = moving.copy()
    boxed[:, :20], boxed[:, -20:] = 0, 0
    assert value(OverlayShareConfig(), boxed) == 0.0
    assert measure(OverlayShareConfig(), pan(photo, [50] * 20)).reason == "nothing_moves"


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ({}, None),
        ({SOURCE_TYPE: "trainedAlgorithmicMedia"}, 1.0),
        ({SOURCE_TYPE: "algorithmicMedia"}, 1.0),
        ({SOURCE_TYPE: "compositeWithTrainedAlgorithmicMedia"}, 0.5),
        ({SOURCE_TYPE: "digitalCapture"}, 0.0),
        ({SOURCE_TYPE: "print"}, None),
        ({"aigc.label": "1"}, 1.0),
        ({"aigc.label": "3"}, 0.5),
    ],
)
def test_generated_is_what_says_so(tags: dict[str, str], wanted: float | None, photo: np.ndarray) -> None:
    facts = dataclasses.replace(ArraySource(pan(photo, [0, 1])).facts, tags=tuple(tags.items()))
    assert AiGeneratedConfig().build("cpu").verdict(facts).value == wanted


def test_marks_of_provenance_are_found_in_bytes() -> None:
    url = b"http://cv.iptc.org/newscodes/digitalsourcetype/"
    assert provenance_marks(b"..." + url + b"trainedAlgorithmicMedia\x00") == {SOURCE_TYPE: "trainedAlgorithmicMedia"}
    both = url + b"digitalCapture\xa1" + url + b"compositeWithTrainedAlgorithmicMedia\xa1"
    assert provenance_marks(both)[SOURCE_TYPE] == "compositeWithTrainedAlgorithmicMedia"
    xmp = b"<Iptc4xmpExt:DigitalSourceType>trainedAlgorithmicMedia</Iptc4xmpExt:DigitalSourceType>"
    assert provenance_marks(xmp) == {SOURCE_TYPE: "trainedAlgorithmicMedia"}
    assert provenance_marks(b'AIGC\x00{"Label":"1","ContentProducer":"x"}') == {"aigc.label": "1"}
    assert provenance_marks(b"a talk on trainedAlgorithmicMedia and AIGC") == {}
    assert provenance_marks(np.random.default_rng(0).bytes(1 << 20)) == {}


def test_speed_is_that_of_the_recording(photo: np.ndarray, shared_data: Path) -> None:
    source = ArraySource(pan(photo, [0, 1, 2, 3]), FPS)
    for said, wanted in (("80", FPS / 80), ("1.0", FPS), ("", None), ("fast", None), ("0", None), ("nan", None)):
        facts = dataclasses.replace(source.facts, tags=(("com.android.capture.fps", said),))
        assert PlaySpeedConfig().build("cpu").verdict(facts).value == (pytest.approx(wanted) if wanted else None)
    assert PlaySpeedConfig().build("cpu").verdict(source.facts).reason
    (found,) = discover([shared_data / "awkward" / "ax_slowmo.mp4"]).clips
    slow = open_source(identify(found), VideoConfig())
    assert dict(slow.facts.tags)["com.android.capture.fps"] == "240.000000"
    assert value_of(PlaySpeedConfig().build("cpu").verdict(slow.facts)) < 1


def value_of(verdict: Verdict) -> float:
    assert verdict.value is not None
    return verdict.value


def test_tags_of_what_cannot_be_read_are_none(shared_data: Path, tmp_path: Path) -> None:
    (found,) = discover([shared_data / "awkward" / "text.mp4"]).clips
    assert container_tags(identify(found)) == ()
    gone = dataclasses.replace(identify(found), path=str(tmp_path / "gone.mp4"))
    assert container_tags(gone) == ()


def test_real_clips_have_neither_logos_nor_marks(shared_data: Path) -> None:
    for name in ("raw/davis_lady_running.mp4", "posed/kitti06_gray/video.mp4", "posed/sevenscenes_kitchen/video.mp4"):
        # measured 0.001 to 0.005; a logo of two words adds 0.01 to 0.02
        assert measure_file(OverlayShareConfig(), shared_data / name) < 0.008, name
