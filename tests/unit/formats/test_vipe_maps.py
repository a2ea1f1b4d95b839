"""ViPE's depth and mask archives: what is in them, at the frames' size, and the EXR's own layout."""

import struct
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from wmkit.camera import ScaleKind
from wmkit.clip import DepthMap, DynamicMask
from wmkit.errors import InputError
from wmkit.formats.exr import exr_bytes, exr_depth
from wmkit.formats.vipe import write_vipe_depth, write_vipe_mask


def test_an_exr_comes_back_and_lies_where_its_offsets_say() -> None:
    z = np.random.default_rng(0).uniform(0.1, 90, (5, 7)).astype(np.float32)
    z[2, 3] = np.nan
    data = exr_bytes(z)
    np.testing.assert_array_equal(exr_depth(data), z.astype(np.float16))
    assert data[:8] == b"\x76\x2f\x31\x01\x02\x00\x00\x00"  # the file layout's magic and version
    table = data.index(b"screenWindowWidth\0float\0") + len(b"screenWindowWidth\0float\0") + 4 + 4 + 1
    for row, offset in enumerate(struct.unpack_from("<5Q", data, table)):
        y, size = struct.unpack_from("<2i", data, offset)
        assert (y, size) == (row, 14)
        line = np.frombuffer(data, "<f2", 7, offset + 8)
        np.testing.assert_array_equal(line, z[row].astype(np.float16))


def test_another_exr_is_refused() -> None:
    data = exr_bytes(np.ones((2, 3)))
    kind = b"compression\0\x01\0\0\0"
    for bad in (data[8:], data.replace(b"Z\0", b"Y\0", 1), data.replace(kind + b"\0", kind + b"\3")):
        with pytest.raises(InputError, match="exr: expected"):
            exr_depth(bad)


def test_depth_is_a_frame_each_at_the_frames_size_and_nan_where_unknown(tmp_path: Path) -> None:
    z = np.arange(1, 25, dtype=np.float32).reshape(2, 3, 4)
    valid = z % 5 != 0
    depth = DepthMap(frame=np.array([1, 12]), z=z, valid=valid, scale=ScaleKind.UP_TO_SCALE)
    assert write_vipe_depth(depth, tmp_path, "a", (8, 6)) == [tmp_path / "depth" / "a.zip"]
    with zipfile.ZipFile(tmp_path / "depth" / "a.zip") as archive:
        assert archive.namelist() == ["00001.exr", "00012.exr"]
        for name, map_z, known in zip(archive.namelist(), z, valid, strict=True):
            got = exr_depth(archive.read(name))
            expected = np.where(known, map_z, np.nan).repeat(2, axis=0).repeat(2, axis=1)
            np.testing.assert_array_equal(got, expected.astype(np.float16))


def test_the_mask_is_one_named_instance(tmp_path: Path) -> None:
    mask = np.zeros((1, 3, 4), dtype=np.bool_)
    mask[0, 1, 2] = True
    moving = DynamicMask(frame=np.array([3]), mask=mask)
    write_vipe_mask(moving, tmp_path, "a", (8, 6))
    with zipfile.ZipFile(tmp_path / "mask" / "a.zip") as archive:
        picture = cv2.imdecode(np.frombuffer(archive.read("00003.png"), np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    np.testing.assert_array_equal(picture, mask[0].repeat(2, axis=0).repeat(2, axis=1).astype(np.uint8))
    assert (tmp_path / "mask" / "a.txt").read_text() == "1: moving\n"
