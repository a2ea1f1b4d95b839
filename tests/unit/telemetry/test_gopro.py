"""GPMF read back from an independent writer, cut anywhere, and spoiled; a real camera's file against its reference."""

import contextlib
import csv
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.telemetry.writers import gpmf, gps5_payload, gps9_payload, gravity_stream, nest
from wmkit.errors import InputError
from wmkit.telemetry import Sidecars, read_telemetry
from wmkit.telemetry.gopro import gps_of_payloads, gravity_of_payloads
from wmkit.telemetry.gpmf import read_gpmf
from wmkit.video import VideoConfig, discover, identify, open_source

ROWS = np.array([[33.1267700 + 1e-6 * i, -117.3273436 + 2e-6 * i, -22.959 + 0.1 * i, 1.0, 1.1] for i in range(18)])
DEGREE_M = 110_912.0  # of latitude at 33° on WGS 84; a metre is 9e-6 of it


def test_gps5_comes_back_in_metres_on_the_clip_clock() -> None:
    payloads = [(0.5 + i, 1.0, gps5_payload(ROWS)) for i in range(2)]
    track = gps_of_payloads(payloads, 0.5, "t")
    assert track is not None
    assert len(track) == 36
    np.testing.assert_allclose(track.time_s[:18], np.arange(18) / 18, atol=1e-12)
    # the file counts in 1e-7 degrees: 1.1 cm
    np.testing.assert_allclose(track.enu_m[:18, 1], np.arange(18) * 1e-6 * DEGREE_M, atol=0.012)
    np.testing.assert_allclose(track.enu_m[:18, 2], np.arange(18) * 0.1, atol=1e-3)
    assert (track.fix == 3).all()
    np.testing.assert_allclose(track.sigma_m, 3.0)


def test_gps9_is_preferred_and_carries_its_own_fix_and_dop() -> None:
    rows = np.column_stack(
        [ROWS, np.full(18, 9000), np.arange(18) / 10, np.full(18, 0.8), np.r_[np.zeros(5), np.full(13, 3)]]
    )
    both = gps9_payload(rows) + gps5_payload(ROWS + 1)
    track = gps_of_payloads([(0.0, 1.0, both)], 0.0, "t")
    assert track is not None
    assert track.fix.tolist() == [0] * 5 + [3] * 13
    np.testing.assert_allclose(track.sigma_m, 1.6)


@pytest.mark.parametrize(("fix", "dop"), [(0, 1.5), (3, 99.99)])
def test_without_a_fix_no_row_counts(fix: int, dop: float) -> None:
    track = gps_of_payloads([(0.0, 1.0, gps5_payload(ROWS, fix=fix, dop=dop))], 0.0, "t")
    assert track is not None
    assert (track.fix == 0).all()


def test_gravity_comes_back_as_unit_vectors() -> None:
    down = np.tile([0.0, 0.6, 0.8], (30, 1))
    track = gravity_of_payloads([(0.0, 1.0, gps5_payload(ROWS, extra=gravity_stream(down)))], 0.0, "t")
    assert track is not None
    np.testing.assert_allclose(track.down, down, atol=1e-4)  # 15 bits and a sign
    np.testing.assert_allclose(track.time_s, np.arange(30) / 30)


def test_scal_of_zero_and_of_another_width_is_refused() -> None:
    for scal in (gpmf("SCAL", "l", 4, 1, struct.pack(">i", 0)), gpmf("SCAL", "l", 4, 2, struct.pack(">2i", 1, 1))):
        stream = scal + gpmf("GPS5", "l", 20, 1, struct.pack(">5i", 1, 2, 3, 4, 5))
        with pytest.raises(InputError, match="divisors"):
            gps_of_payloads([(0.0, 1.0, nest("DEVC", nest("STRM", stream)))], 0.0, "t")


def test_deep_nests_end() -> None:
    data = b""
    for _ in range(20):
        data = nest("STRM", data)
    with pytest.raises(InputError, match="levels"):
        read_gpmf(data)


@given(cut=st.integers(0, len(gps5_payload(ROWS))))
def test_cut_anywhere_it_is_read_or_refused(cut: int) -> None:
    whole = gps5_payload(ROWS, extra=gravity_stream(np.tile([0.0, 1, 0], (3, 1))))
    with contextlib.suppress(InputError):
        gps_of_payloads([(0.0, 1.0, whole[:cut])], 0.0, "t")


@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(gps5_payload(ROWS)) - 1), st.integers(0, 255)), min_size=1, max_size=12
    )
)
def test_spoiled_bytes_are_read_or_refused(changes: list[tuple[int, int]]) -> None:
    data = bytearray(gps5_payload(ROWS, extra=gravity_stream(np.tile([0.0, 1, 0], (3, 1)))))
    for place, value in changes:
        data[place] = value
    with contextlib.suppress(InputError):
        gps_of_payloads([(0.0, 1.0, bytes(data))], 0.0, "t")
        gravity_of_payloads([(0.0, 1.0, bytes(data))], 0.0, "t")


@given(data=st.binary(max_size=400))
def test_noise_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(InputError):
        read_gpmf(data)


def test_a_real_walk_is_its_reference(shared_data: Path) -> None:
    folder = shared_data / "posed" / "gopro_max_walk"
    file = identify(discover([folder]).clips[0])
    frames = open_source(file, VideoConfig(fps=None))
    found = read_telemetry(file, frames.view, frames.clip.span_s[0], Sidecars())
    assert found.gps is not None
    assert found.gravity is not None
    assert [record.kind for record in found.records] == ["gpmf"]
    rows = list(csv.DictReader((folder / "gps.csv").read_text().splitlines()))
    table = np.array([[float(row[name]) for name in ("t_s", "east_m", "north_m", "up_m")] for row in rows])
    # the reference is rounded to 1 mm and 0.1 ms
    np.testing.assert_allclose(found.gps.time_s, table[:, 0], atol=1e-4)
    np.testing.assert_allclose(found.gps.enu_m, table[:, 1:], atol=1e-3)
    assert len(found.gravity.time_s) == 316
