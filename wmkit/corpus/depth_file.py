"""depth.npz: depth maps as 16-bit inverse depth, read by numpy alone.

::

    frame          (K,) i8 output-frame indices
    inverse_range  (K, 2) f8 the least and the greatest 1 / z of the map's known pixels, 1 / the trajectory's unit
    code_high      (K, h, w) u1 and
    code_low       (K, h, w) u1: code = 256 * code_high + code_low; 0 is unknown, otherwise
                   1 / z = least + (code - 1) / 65534 * (greatest - least)
    confidence     (K, h, w) u1 in 255ths, 0 where unknown; not there when the backend knows none

    with np.load("depth.npz") as file:
        code = 256.0 * file["code_high"] + file["code_low"]
        least, greatest = file["inverse_range"].T[:, :, None, None]
        z = np.where(code > 0, 1 / (least + (code - 1) / 65534 * (greatest - least)), np.nan)

What is read back is off by at most half a step of 1 / z, (greatest - least) / 131068, so z by at most z² times that: a
relative error of z_max / z_min / 131068 at the far end, 0.01 % where depths differ tenfold; and by float32's rounding.
Bytes of a kind lie together because deflate then finds more: see LOG.md for sizes and speeds, FFV1 and zstd beside it.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import ScaleKind
from wmkit.clip import DepthMap
from wmkit.corpus.deflated import deflated_npz_bytes

__all__ = ["depth_bytes", "depth_of_arrays"]

STEPS = 65534


def depth_bytes(depth: DepthMap) -> bytes:
    """The file of a clip's depth maps."""
    inverse = np.where(depth.valid, 1 / np.where(depth.valid, depth.z, 1).astype(np.float64), np.nan)
    known = depth.valid.any(axis=(1, 2))
    ends = np.zeros((len(inverse), 2))
    ends[known, 0], ends[known, 1] = (f(inverse[known], axis=(1, 2)) for f in (np.nanmin, np.nanmax))
    span = np.maximum(ends[:, 1] - ends[:, 0], np.finfo(np.float64).tiny)[:, None, None]
    code = 1 + np.rint((inverse - ends[:, 0, None, None]) / span * STEPS)
    code = np.where(depth.valid, code, 0).astype(np.uint16)
    arrays: dict[str, NDArray] = {
        "frame": depth.frame,
        "inverse_range": ends,
        "code_high": (code >> 8).astype(np.uint8),
        "code_low": (code & 255).astype(np.uint8),
    }
    if depth.confidence is not None:
        arrays["confidence"] = np.rint(depth.confidence * 255).astype(np.uint8)
    return deflated_npz_bytes(arrays)


def depth_of_arrays(arrays: Mapping[str, NDArray], scale: ScaleKind) -> DepthMap:
    """The maps of a file's arrays; KeyError or ValueError where they are no depth file of ours."""
    code = arrays["code_high"].astype(np.uint16) * np.uint16(256) + arrays["code_low"]
    least, greatest = arrays["inverse_range"].T[:, :, None, None]
    valid = code > 0
    inverse = least + (code - 1.0) / STEPS * (greatest - least)
    sure = arrays.get("confidence")
    return DepthMap(
        frame=arrays["frame"],
        z=(1 / np.where(valid, inverse, 1)).astype(np.float32),
        valid=valid,
        scale=scale,
        confidence=None if sure is None else sure.astype(np.float32) / np.float32(255),
    )
