"""depth.npz: the stated bound holds, numpy alone reads it, and its bytes are any zip reader's."""

import io
import zipfile

import numpy as np
import pytest

from wmkit.atomic import npz_bytes
from wmkit.camera import ScaleKind
from wmkit.clip import DepthMap
from wmkit.corpus.deflated import deflated_npz_bytes
from wmkit.corpus.depth_file import depth_bytes, depth_of_arrays


def maps(confidence: bool = True) -> DepthMap:
    """Three maps of depths from 0.3 to 80, one of a single depth, one without any."""
    rng = np.random.default_rng(0)
    z = np.exp(rng.uniform(np.log(0.3), np.log(80), (3, 30, 40))).astype(np.float32)
    z[1] = 2.5
    valid = rng.random(z.shape) > 0.3
    valid[2] = False
    sure = rng.random(z.shape).astype(np.float32) if confidence else None
    return DepthMap(frame=np.array([0, 4, 9]), z=z, valid=valid, scale=ScaleKind.METRIC, confidence=sure)


def arrays_of(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def test_what_comes_back_is_within_the_stated_bound() -> None:
    before = maps()
    after = depth_of_arrays(arrays_of(depth_bytes(before)), ScaleKind.METRIC)
    np.testing.assert_array_equal(after.frame, before.frame)
    np.testing.assert_array_equal(after.valid, before.valid)
    inverse = 1 / before.z[0][before.valid[0]].astype(np.float64)
    step = (inverse.max() - inverse.min()) / 65534
    error = np.abs(1 / after.z[0][before.valid[0]].astype(np.float64) - inverse)
    assert error.max() <= step / 2 + 1e-6 * inverse.max()  # float32 keeps 6e-8 of z on either side
    assert error.max() > step / 10  # rounded to 16 bits indeed
    # One depth has no range: it comes back but for float32's last digit.
    np.testing.assert_allclose(after.z[1][before.valid[1]], 2.5, rtol=2e-7)
    assert before.confidence is not None
    assert after.confidence is not None
    assert np.abs(after.confidence - before.confidence).max() <= 0.5 / 255 + 1e-6


def test_no_confidence_stays_none() -> None:
    data = depth_bytes(maps(confidence=False))
    assert "confidence" not in arrays_of(data)
    assert depth_of_arrays(arrays_of(data), ScaleKind.METRIC).confidence is None


def test_the_docstring_s_lines_read_it_with_numpy_alone() -> None:
    before = maps()
    file = arrays_of(depth_bytes(before))
    code = 256.0 * file["code_high"] + file["code_low"]
    least, greatest = file["inverse_range"].T[:, :, None, None]
    z = np.where(code > 0, 1 / np.where(code > 0, least + (code - 1) / 65534 * (greatest - least), 1), np.nan)
    after = depth_of_arrays(file, ScaleKind.METRIC)
    np.testing.assert_array_equal(np.isfinite(z), before.valid)
    np.testing.assert_allclose(z[before.valid], after.z[before.valid], rtol=1e-7)


def test_it_is_smaller_than_float_and_the_same_again() -> None:
    smooth = np.linspace(1, 3, 160 * 120, dtype=np.float32).reshape(1, 120, 160)
    depth = DepthMap(frame=np.array([0]), z=smooth, valid=smooth > 0, scale=ScaleKind.UP_TO_SCALE)
    data = depth_bytes(depth)
    assert data == depth_bytes(depth)
    assert len(data) < smooth.nbytes / 2  # 16 bits for 32 even before deflate


def test_deflated_archives_are_zip_files_of_the_same_arrays() -> None:
    arrays = {"b": np.arange(12.0).reshape(3, 4), "a": np.array([np.nan, 1]), "empty": np.zeros((0, 2), np.uint8)}
    data = deflated_npz_bytes(arrays)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.npy", "b.npy", "empty.npy"]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_DEFLATED}
    plain, packed = arrays_of(npz_bytes(arrays)), arrays_of(data)
    for name in arrays:
        np.testing.assert_array_equal(plain[name], packed[name])
    other_nan = np.array([0x7FC00001], dtype=np.uint32).view(np.float32)
    assert deflated_npz_bytes({"x": other_nan}) == deflated_npz_bytes({"x": np.array([np.nan], np.float32)})
    with pytest.raises(ValueError, match="Object arrays"):
        deflated_npz_bytes({"x": np.array([{}], dtype=object)})
