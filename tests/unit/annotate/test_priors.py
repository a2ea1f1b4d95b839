"""Priors: who speaks first, what a flag means in px of the output, what EXIF says, and what is refused."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from tests.annotate_doubles import ArraySource
from wmkit.annotate.pipeline import config_dict
from wmkit.annotate.priors import KnownCamera, PriorConfig, clip_prior, prior_config, read_priors
from wmkit.camera import CameraPrior
from wmkit.errors import ClipError, InputError
from wmkit.formats.intrinsics import intrinsics_of_file, read_intrinsics
from wmkit.video import VideoConfig, discover, identify, open_source
from wmkit.video.camera_metadata import exif_block, exif_focal_px

LUND = Path(__file__).parents[3] / "../shared/data/posed/lund_street"


def stills(folder: Path, focal_35mm: list[int], size: tuple[int, int] = (96, 64), orientation: int = 1) -> Path:
    """One JPEG for each focal length, 0 for none."""
    folder.mkdir()
    for index, focal in enumerate(focal_35mm):
        exif = Image.Exif()
        exif[0x0112] = orientation
        if focal:
            exif.get_ifd(0x8769)[0xA405] = focal
        noise = np.random.default_rng(index).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{index:03d}.jpg", exif=exif)
    return folder


def prior_of(folder: Path, config: PriorConfig | None = None, max_side: int = 960) -> CameraPrior | None:
    (found,) = discover([folder]).clips
    return clip_prior(open_source(identify(found), VideoConfig(max_side=max_side)), config or PriorConfig())


def test_exif_35mm_equivalent_is_read_unasked_and_scaled_to_the_output(tmp_path: Path) -> None:
    prior = prior_of(stills(tmp_path / "a", [28, 28]), max_side=48)
    assert prior is not None
    assert prior.fx == pytest.approx(28 * np.hypot(48, 32) / np.hypot(36, 24), rel=1e-12)
    assert (prior.cx, prior.sigma_log) == (None, 0.06)
    assert "28" in prior.source


@pytest.mark.parametrize("focal", [[0, 0], [28, 70]], ids=["silent", "zoomed"])
def test_no_exif_or_a_zoom_is_no_prior(tmp_path: Path, focal: list[int]) -> None:
    assert prior_of(stills(tmp_path / "a", focal)) is None


def test_exif_can_be_left_unread(tmp_path: Path) -> None:
    assert prior_of(stills(tmp_path / "a", [28, 28]), PriorConfig(metadata=False)) is None


def plane_exif(taken_px: int, orientation: int = 1) -> Image.Exif:
    """A 6 mm lens on a sensor of 12 mm: 0.5 widths of focal length, the picture `taken_px` wide."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    ifd = exif.get_ifd(0x8769)
    ifd[0x920A], ifd[0xA002], ifd[0xA405] = IFDRational(6), taken_px, 99
    ifd[0xA20E], ifd[0xA20F], ifd[0xA210] = (
        IFDRational(taken_px * 5, 6),
        IFDRational(taken_px * 5, 6),
        3,
    )  # px a centimetre
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_sensor_width_beats_the_35mm_equivalent(kind: str) -> None:
    """The picture was shrunk after it was taken, the tags were not told: 96 px wide, 9600 when taken."""
    stored = io.BytesIO()
    Image.new("RGB", (96, 64)).save(stored, kind, exif=plane_exif(9600))
    lens = exif_focal_px(exif_block(stored.getvalue()), (96, 64))
    assert lens is not None
    assert lens.fx == pytest.approx(48.0, rel=1e-6)  # rationals of 32 bits
    assert lens.sigma_log == 0.03


def test_damaged_exif_is_no_exif() -> None:
    block = plane_exif(96).tobytes().removeprefix(b"Exif\0\0")
    assert exif_focal_px(block, (96, 64)) is not None
    for cut in range(len(block)):
        exif_focal_px(block[:cut], (96, 64))  # whatever it says, it does not raise


def test_a_turned_still_keeps_its_diagonal(tmp_path: Path) -> None:
    upright = prior_of(stills(tmp_path / "a", [28, 28]))
    turned = prior_of(stills(tmp_path / "b", [28, 28], orientation=6))
    assert upright is not None
    assert turned is not None
    assert turned.fx == pytest.approx(upright.fx, rel=1e-12)


@pytest.mark.skipif(not LUND.is_dir(), reason="needs ../shared/data/posed/lund_street")
def test_lund_stills_tell_their_lens() -> None:
    prior = prior_of(LUND / "images")
    assert prior is not None
    # 35 mm on the diagonal of 960x720 px: 970.7; the phone's published sensor (4.54 mm, 4.28 mm lens) says 905
    assert prior.fx == pytest.approx(970.7, abs=0.1)
    assert abs(np.log(prior.fx / 905)) < 2 * prior.sigma_log


def frames_of(width: int = 200, height: int = 100) -> ArraySource:
    return ArraySource(np.zeros((2, height, width, 3), np.uint8))


def test_flag_intrinsics_are_of_the_source_and_come_out_in_output_px(tmp_path: Path) -> None:
    """A calibration at twice the size of a 96x64 source, delivered at 48x32."""
    config = prior_config(intrinsics="200,210,100,60@192x128", fov_deg=None, priors=None)
    prior = prior_of(stills(tmp_path / "a", [28, 28]), config, max_side=48)
    assert prior is not None
    np.testing.assert_allclose([prior.fx, prior.fy, prior.cx, prior.cy], [50, 52.5, 25, 15], rtol=1e-12)  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert prior.source == "--intrinsics 200,210,100,60@192x128"
    assert prior.sigma_log == 0.01


def test_a_field_of_view_is_horizontal_and_of_the_upright_picture() -> None:
    prior = clip_prior(frames_of(), prior_config(intrinsics=None, fov_deg=90.0, priors=None))
    assert prior is not None
    assert prior.fx == pytest.approx(100.0)
    assert prior.cx is None
    assert prior.sigma_log == 0.05


@pytest.mark.parametrize("suffix", ["json", "txt", "npy", "npz"])
def test_intrinsics_from_a_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"camera.{suffix}"
    row = [150.0, 151.0, 98.0, 52.0]
    if suffix == "json":
        path.write_text(
            json.dumps(dict(zip(("fx", "fy", "cx", "cy"), row, strict=True)) | {"width": 200, "height": 100})
        )
    elif suffix == "txt":
        path.write_text(" ".join(map(str, row)))
    elif suffix == "npy":
        np.save(path, row)
    else:
        np.savez(path, intrinsics=np.array(row))
    prior = clip_prior(frames_of(), prior_config(intrinsics=str(path), fov_deg=None, priors=None))
    assert prior is not None
    assert [prior.fx, prior.fy, prior.cx, prior.cy] == row


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("torn.npz", "without pickled objects"), ("torn.npy", "without pickled objects"), ("other.npz", "got fx, fy")],
)
def test_an_array_file_without_intrinsics_is_one_line_of_our_own(tmp_path: Path, name: str, wanted: str) -> None:
    path = tmp_path / name
    if name == "other.npz":
        np.savez(path, fx=1.0, fy=1.0)
    else:
        path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(InputError, match=wanted) as caught:
        intrinsics_of_file(path)
    assert str(path) in str(caught.value)
    assert "allow_pickle" not in str(caught.value)


def test_intrinsics_of_a_file_with_a_lens_are_those_of_the_pictures_as_they_are(tmp_path: Path) -> None:
    frames = [{"file_path": f"{index}.png", "transform_matrix": np.eye(4).tolist()} for index in range(2)]
    camera = {"fl_x": 70.0, "fl_y": 71.0, "cx": 40.0, "cy": 30.0, "w": 80, "h": 60, "k1": -0.1}
    path = tmp_path / "transforms.json"
    path.write_text(json.dumps({"camera_model": "OPENCV", **camera, "frames": frames}))
    rows, size = intrinsics_of_file(path)
    assert size == (80, 60)
    np.testing.assert_array_equal(rows, [[70.0, 71.0, 40.0, 30.0]] * 2)
    np.testing.assert_array_equal(read_intrinsics(path, (80, 60)), rows)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("150,150,50,100@100x200", "wrong_shape"),
        ("150,150,640,360@200x100", "off_centre"),
        ("9000,9000,100,50@200x100", "wrong_size"),
    ],
)
def test_intrinsics_of_another_picture_are_one_line(text: str, code: str) -> None:
    config = prior_config(intrinsics=text, fov_deg=None, priors=None)
    with pytest.raises(ClipError) as caught:
        clip_prior(frames_of(), config)
    assert (caught.value.stage, caught.value.code) == ("prior", code)
    assert "\n" not in caught.value.message
    assert "expected" in caught.value.message
    assert code != "off_centre" or "1280x720" in caught.value.message


@pytest.mark.parametrize(
    "text", ["nowhere.json", "1,2,3@4x5", "a,b,c,d@10x10", "0,1,5,5@10x10", "5,5,5,5@0x10", "5,5,5,5"]
)
def test_unreadable_intrinsics_flags(text: str) -> None:
    with pytest.raises(InputError, match="--intrinsics"):
        prior_config(intrinsics=text, fov_deg=None, priors=None)


@pytest.mark.parametrize("fov", [0.0, 180.0, -5.0, float("nan")])
def test_impossible_fields_of_view(fov: float) -> None:
    with pytest.raises(InputError, match="--fov-deg"):
        prior_config(intrinsics=None, fov_deg=fov, priors=None)


def test_two_flags_for_one_thing_are_refused() -> None:
    with pytest.raises(InputError, match="one of the two"):
        prior_config(intrinsics="5,5,5,5@10x10", fov_deg=60.0, priors=None)


def test_sidecar_first_match_counts_and_flags_go_before_it(tmp_path: Path) -> None:
    path = tmp_path / "priors.json"
    cameras = [
        {"clip": "b*.mp4", "fov_deg": 40},
        {"clip": "a.mp4", "fov_deg": 90, "sigma_log": 0.2},
        {"clip": "*", "fov_deg": 50},
    ]
    path.write_text(json.dumps({"cameras": cameras}))
    prior = clip_prior(frames_of(), prior_config(intrinsics=None, fov_deg=None, priors=path))
    assert prior is not None
    assert (prior.fx, prior.sigma_log) == (pytest.approx(100.0), 0.2)
    assert "priors.json entry 1" in prior.source
    flag = clip_prior(frames_of(), prior_config(intrinsics=None, fov_deg=60.0, priors=path))
    assert flag is not None
    assert flag.source == "--fov-deg 60"


@pytest.mark.parametrize(
    "entry",
    [
        {"fov_deg": 60},
        {"clip": "*", "fov": 60},
        {"clip": "*", "fov_deg": "60"},
        {"clip": "*", "fx": 5, "fy": 5},
        {"clip": "*", "fov_deg": 60, "sigma_log": 0},
        {"clip": "*"},
        7,
    ],
)
def test_bad_sidecar_entries(tmp_path: Path, entry: object) -> None:
    path = tmp_path / "priors.json"
    path.write_text(json.dumps({"cameras": [entry]}))
    with pytest.raises(InputError, match=r"priors\.json entry 0"):
        read_priors(path)


def test_a_prior_is_part_of_the_config() -> None:
    one, two = (PriorConfig(known=(KnownCamera(clip="*", source="x", sigma_log=0.1, fov_deg=f),)) for f in (60.0, 61.0))
    assert config_dict(one) != config_dict(two)


@pytest.mark.parametrize(
    "change",
    [{"fx": 0.0}, {"fy": float("inf")}, {"cx": None}, {"cy": float("nan")}, {"sigma_log": 0.0}, {"source": ""}],
)
def test_camera_prior_checks_itself(change: dict) -> None:
    good = {"fx": 5.0, "fy": 5.0, "cx": 2.0, "cy": 2.0, "sigma_log": 0.1, "source": "test"}
    CameraPrior(**good)
    with pytest.raises(InputError, match="camera prior"):
        CameraPrior(**(good | change))
