"""EXIF, GPX and csv from independent writers; what is malformed, hostile or empty; which file a clip is given."""

import contextlib
import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.annotate_doubles import NO_FILE, view_of
from tests.unit.telemetry.writers import exif_jpeg, gpx
from wmkit.errors import InputError
from wmkit.telemetry import AUTO, Sidecars, named_sidecars, read_telemetry
from wmkit.telemetry.exif import exif_block, read_still
from wmkit.telemetry.gpx import read_gpx
from wmkit.telemetry.read import MAX_FILE_BYTES
from wmkit.telemetry.table import read_table
from wmkit.video import ClipFile, discover, identify

POINT = ("2026-01-31T12:00:00Z", "2026-01-31T13:00:01.5+01:00")


@given(
    rows=st.lists(
        st.tuples(st.floats(-89, 89), st.floats(-179.9, 179.9), st.floats(-400, 8000)), min_size=1, max_size=20
    )
)
def test_gpx_comes_back(rows: list[tuple[float, float, float]]) -> None:
    start = dt.datetime(2026, 1, 31, tzinfo=dt.UTC)
    points = [(*row, (start + dt.timedelta(seconds=i)).isoformat()) for i, row in enumerate(rows)]
    fixes = read_gpx(gpx(points))
    np.testing.assert_allclose(fixes.lat_deg, [row[0] for row in rows], atol=1e-9)
    np.testing.assert_allclose(fixes.lon_deg, [row[1] for row in rows], atol=1e-9)
    np.testing.assert_allclose(fixes.alt_m, [row[2] for row in rows], atol=1e-3)
    np.testing.assert_allclose(np.diff(fixes.utc_s), 1.0)


def test_gpx_times_are_absolute_and_sorted() -> None:
    fixes = read_gpx(gpx([(1.0, 2.0, 3.0, POINT[1]), (1.0, 2.0, 3.0, POINT[0])]))
    assert np.diff(fixes.utc_s).tolist() == [1.5]


BOMB = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "xxxxxxxx"><!ENTITY y "&x;&x;&x;&x;">]><gpx>&y;</gpx>'
OUTSIDE = b'<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/hostname"><gpx/>'


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (BOMB, "document type"),
        (OUTSIDE, "document type"),
        (b"", "well-formed"),
        (b"<gpx><trk>", "well-formed"),
        (b"<gpx/>", "track points"),
        (gpx([(91.0, 0.0, 0.0, POINT[0])]), "degrees"),
        (gpx([(1.0, 0.0, 0.0, "yesterday")]), "time"),
        (b'<gpx><trkpt lat="x" lon="1"><time>2026-01-31T12:00:00Z</time></trkpt></gpx>', "number in lat"),
        (b'<gpx><trkpt lat="1" lon="1"/></gpx>', "1 without a time"),
        (b"<a>" * 100 + b"</a>" * 100, "levels"),
    ],
)
def test_gpx_that_is_none_is_refused_in_one_line(data: bytes, word: str) -> None:
    with pytest.raises(InputError, match=word) as error:
        read_gpx(data)
    assert "\n" not in str(error.value)


@given(data=st.binary(max_size=300), cut=st.integers(0, 400))
def test_noise_and_cut_gpx_are_read_or_refused(data: bytes, cut: int) -> None:
    for text in (data, gpx([(1.0, 2.0, 3.0, POINT[0])] * 3)[:cut]):
        with contextlib.suppress(InputError):
            read_gpx(text)


def test_csv_in_metres_and_in_degrees() -> None:
    metres = read_table(b"t_s,east_m,north_m,up_m,sigma_m\n0,0,0,0,2\n1,3,4,,2\n")
    assert metres.time_s is not None
    assert metres.fix.tolist() == [3, 2]
    np.testing.assert_allclose(metres.enu_m[1, :2], [3, 4])
    degrees = read_table(b"utc,lat_deg,lon_deg,dop\n2026-01-31T12:00:00Z,50,8,1\n2026-01-31T12:00:01Z,50.001,8,\n")
    assert degrees.utc_s is not None
    np.testing.assert_allclose(degrees.enu_m[1, 1], 111.23, atol=0.02)  # a thousandth of a degree at 50° on WGS 84
    np.testing.assert_allclose(degrees.sigma_m, [2.0, 5.0])


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "header"),
        ("time_s,east_m,north_m\n", "rows"),
        ("time_s,x,y\n1,2,3\n", "lat_deg"),
        ("when,east_m,north_m\n1,2,3\n", "time_s, utc or file"),
        ("time_s,east_m,north_m\n1,two,3\n", "row 1: expected a number in east_m"),
        ("time_s,east_m,north_m\n1,inf,3\n", "finite"),
        ("time_s,east_m,north_m\n,2,3\n", "time_s"),
        ("time_s,east_m,north_m\n1,2,3\n0.5,2,3\n", "row 2: expected time_s to increase"),
        ("utc,east_m,north_m\nnoon,2,3\n", "utc"),
        ("file,east_m,north_m\na.jpg,2,3\na.jpg,2,3\n", "twice"),
        ("time_s,lat_deg,lon_deg\n1,99,3\n", "90"),
        ("time_s,east_m,north_m,sigma_m\n1,2,3,-1\n", "above 0"),
    ],
)
def test_csv_that_is_none_is_refused_in_one_line(text: str, word: str) -> None:
    with pytest.raises(InputError, match=word) as error:
        read_table(text.encode())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("lat", "lon", "alt"), [(55.6981667, 13.1953889, 37.0), (-33.5, -70.25, -12.5), (10.0, 20.0, None)]
)
def test_exif_comes_back(tmp_path: Path, lat: float, lon: float, alt: float | None) -> None:
    exif_jpeg(tmp_path / "a.jpg", lat, lon, alt, "2026:01:31 12:00:00")
    fix = read_still(tmp_path / "a.jpg")
    assert fix is not None
    assert fix.lat_deg == pytest.approx(lat, abs=1e-7)
    assert fix.lon_deg == pytest.approx(lon, abs=1e-7)
    assert np.isnan(fix.alt_m) if alt is None else fix.alt_m == pytest.approx(alt, abs=1e-3)
    assert fix.taken_s == dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC).timestamp()


@given(cut=st.integers(0, 2000), place=st.integers(0, 2000), value=st.integers(0, 255))
def test_spoiled_exif_is_read_or_absent(
    tmp_path_factory: pytest.TempPathFactory, cut: int, place: int, value: int
) -> None:
    path = tmp_path_factory.mktemp("exif") / "a.jpg"
    exif_jpeg(path, 55.7, 13.2, 37.0)
    data = bytearray(path.read_bytes())
    data[place % len(data)] = value
    path.write_bytes(bytes(data[: max(cut, 10)]))
    read_still(path)
    exif_block(bytes(data))


def stills(folder: Path, places: list[tuple[float, float]]) -> ClipFile:
    for index, (lat, lon) in enumerate(places):
        exif_jpeg(folder / f"{index}.jpg", lat, lon, 5.0)
    return identify(discover([folder]).clips[0])


def test_stills_give_a_track_and_a_stuck_receiver_is_no_fix(tmp_path: Path) -> None:
    file = stills(tmp_path, [(50.0, 8.0), (50.001, 8.0), (50.001, 8.0)])
    found = read_telemetry(file, view_of(np.arange(3) / 16), 0.0, Sidecars())
    assert found.gps is not None
    assert found.gps.fix.tolist() == [3, 3, 0]
    np.testing.assert_allclose(found.gps.time_s, np.arange(3) / 16)
    np.testing.assert_allclose(found.gps.enu_m[1], [0, 111.23, 0], atol=0.02)


def test_lund_has_a_position_in_every_still(shared_data: Path) -> None:
    file = identify(discover([shared_data / "posed" / "lund_street" / "images"]).clips[0])
    found = read_telemetry(file, view_of(np.arange(29) / 16), 0.0, Sidecars())
    assert found.gps is not None
    assert len(found.gps) == 29
    np.testing.assert_allclose(found.gps.enu_m[-1], [-54.49, 171.64, -2.0], atol=0.05)  # the reference's own radii


def test_auto_finds_only_the_clips_own_name(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"not a video")
    (tmp_path / "gps.csv").write_text("time_s,east_m,north_m\n0,0,0\n1,1,1\n")
    file = ClipFile(path=str(tmp_path / "a.mp4"), name="a.mp4", content_hash="0", clip_id="0")
    assert read_telemetry(file, view_of([0.0, 1.0]), 0.0, Sidecars()).no_gps == "no_telemetry"
    (tmp_path / "gps.csv").rename(tmp_path / "a.gps.csv")
    found = read_telemetry(file, view_of([0.0, 1.0]), 0.0, Sidecars())
    assert found.gps is not None
    assert [record.name for record in found.records] == ["a.gps.csv"]
    (tmp_path / "a.gps.csv").write_text("nonsense")
    assert read_telemetry(file, view_of([0.0, 1.0]), 0.0, Sidecars()).no_gps.startswith("malformed_telemetry: csv")


def test_a_named_file_is_checked_once_and_must_stay_the_same(tmp_path: Path) -> None:
    path = tmp_path / "walk.csv"
    path.write_text("time_s,east_m,north_m\n0,0,0\n1,1,1\n")
    sidecars = named_sidecars(str(path), 16.0)
    assert sidecars is not None
    assert read_telemetry(NO_FILE, view_of([0.0, 1.0]), 0.0, sidecars).gps is not None
    path.write_text("time_s,east_m,north_m\n0,0,0\n1,2,2\n")
    assert "got another" in read_telemetry(NO_FILE, view_of([0.0, 1.0]), 0.0, sidecars).no_gps
    assert named_sidecars("none", 16.0) is None
    assert named_sidecars("auto", 16.0) == Sidecars(source=AUTO)


def test_a_gpx_needs_a_clip_with_an_absolute_time(tmp_path: Path) -> None:
    path = tmp_path / "walk.gpx"
    path.write_bytes(gpx([(50.0, 8.0, 1.0, POINT[0]), (50.0, 8.1, 1.0, POINT[1])]))
    sidecars = named_sidecars(str(path), 16.0)
    assert sidecars is not None
    found = read_telemetry(NO_FILE, view_of([0.0, 1.0]), 0.0, sidecars)
    assert (found.gps, found.no_gps) == (None, "clip_has_no_absolute_time")


@pytest.mark.parametrize(
    ("name", "content", "word"), [("a.txt", b"x", "gpx or a .csv"), ("a.gpx", b"x", "well-formed")]
)
def test_a_named_file_that_is_none_is_one_line(tmp_path: Path, name: str, content: bytes, word: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=word):
        named_sidecars(str(tmp_path / name), 16.0)
    with pytest.raises(InputError, match="readable"):
        named_sidecars(str(tmp_path / "missing.gpx"), 16.0)


def test_a_named_file_has_a_size_limit(tmp_path: Path) -> None:
    with (tmp_path / "big.csv").open("wb") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(InputError, match="MiB"):
        named_sidecars(str(tmp_path / "big.csv"), 16.0)
