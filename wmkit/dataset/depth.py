"""The optional part .depth.npz: a clip's depth maps as the corpus has them, made to fit the sample's frames.

The file is that of `wmkit.corpus.depth_file`, its error bound too: z-depth as 16-bit inverse depth, in the unit of
.json: scale.unit. `frame` are rows of the mp4, of which few have a map; a map covers what the mp4's frames show, so its
cameras are theirs, resized. A map is cut and scaled by taking, for each pixel, the value nearest to its centre, coded
as it is: between a near and a far surface there is no third one, and nothing is rounded twice.
"""

import io
import zipfile
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wmkit.atomic import HEADER_LOCK
from wmkit.camera import ScaleKind
from wmkit.clip import DepthMap
from wmkit.corpus.clip_folder import DEPTH
from wmkit.corpus.deflated import deflated_npz_bytes
from wmkit.corpus.depth_file import depth_of_arrays
from wmkit.dataset.decode import cover
from wmkit.dataset.schema import Folder, Sample, read_part
from wmkit.errors import CorruptShardError, InputError

__all__ = ["DEPTH", "DepthRows", "depth_damage", "depth_of_window", "fitted_depth", "has_depth", "seen_px"]

PICTURES = ("code_high", "code_low", "confidence")  # arrays with a value a pixel; the last may be missing
HEADERS_BYTES = 1 << 16  # more than the headers of all arrays and their rows that are no picture take


class DepthRows(NamedTuple):
    """z (T, H, W) float32 of each frame of a crop, 0 where `valid` (T, H, W) is false: all of it without a map."""

    z: NDArray[np.float32]
    valid: NDArray[np.bool_]


def has_depth(sample: Sample) -> bool:
    """Whether the sample has depth maps."""
    return any(part.name == DEPTH for part in sample.parts)


def seen_px(w: int, h: int, width: int, height: int) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of what is left of w x h px that `fit_frames` made fit width x height, in those px."""
    size, left, top = cover(w, h, width, height)
    x, y = w / size[0], h / size[1]
    return left * x, top * y, (left + width) * x, (top + height) * y


def fitted_depth(
    file: bytes, was: tuple[int, int], seen: tuple[float, float, float, float], size: tuple[int, int]
) -> bytes:
    """A corpus' depth.npz as the part of a sample; the same bytes where nothing is cut off and nothing shrunk.

    was   (width, height) px of the frames that the maps cover.
    seen  left, top, right, bottom in those px of what the sample's frames show.
    size  (width, height) px of the sample's frames: a map never has more.
    """
    with HEADER_LOCK, np.load(io.BytesIO(file), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    height, width = arrays["code_high"].shape[1:]
    left, top, right, bottom = seen[0] / was[0], seen[1] / was[1], seen[2] / was[0], seen[3] / was[1]
    columns = _nearest(width, left, right, max(1, min(size[0], round(width * (right - left)))))
    rows = _nearest(height, top, bottom, max(1, min(size[1], round(height * (bottom - top)))))
    if np.array_equal(columns, np.arange(width)) and np.array_equal(rows, np.arange(height)):
        return file
    for name in PICTURES:
        if name in arrays:
            arrays[name] = arrays[name][:, rows[:, None], columns]
    return deflated_npz_bytes(arrays)


def depth_of_window(
    folder: Folder, sample: Sample, frames: range, size: tuple[int, int], *, check: bool = True
) -> DepthRows:
    """Depth of the mp4's `frames` as `fit_frames` makes them fit `size` (width, height): a row each.

    Frames without a map, and all frames of a sample without any, are masked. CorruptShardError when the part is not
    what the index promises; `check`: its bytes are held against the index first.
    """
    width, height = size
    z = np.zeros((len(frames), height, width), dtype=np.float32)
    valid = np.zeros(z.shape, dtype=np.bool_)
    if has_depth(sample):
        arrays = _arrays(folder, sample, check=check)
        seen = seen_px(sample.width, sample.height, width, height)
        rows = _nearest(arrays["code_high"].shape[1], seen[1] / sample.height, seen[3] / sample.height, height)
        columns = _nearest(arrays["code_high"].shape[2], seen[0] / sample.width, seen[2] / sample.width, width)
        kept = [k for k, frame in enumerate(arrays["frame"].tolist()) if frame in frames]
        if kept:
            maps = _maps({name: array[kept] for name, array in arrays.items()}, sample)
            for k, frame in enumerate(maps.frame.tolist()):
                z[frames.index(frame)] = maps.z[k][rows[:, None], columns]
                valid[frames.index(frame)] = maps.valid[k][rows[:, None], columns]
    return DepthRows(z, valid)


def depth_damage(folder: Folder, sample: Sample) -> str | None:
    """What is wrong with a sample's depth maps, None when nothing is or there are none."""
    if not has_depth(sample):
        return None
    try:
        _maps(_arrays(folder, sample, check=True), sample)
    except CorruptShardError as error:
        return str(error)
    return None


def _nearest(count: int, low: float, high: float, out: int) -> NDArray[np.int64]:
    """(out,) which of `count` equal cells of [0, 1) holds the centre of each of `out` equal cells of [low, high)."""
    centres = low + (np.arange(out) + 0.5) / out * (high - low)
    return np.clip(np.floor(centres * count).astype(np.int64), 0, count - 1)


def _arrays(folder: Folder, sample: Sample, *, check: bool) -> dict[str, NDArray]:
    """The part's arrays as they are: of one size, of its frames, and no larger than these."""
    data = read_part(folder, sample, DEPTH, check=check)
    try:
        with HEADER_LOCK, np.load(io.BytesIO(data), allow_pickle=False) as archive:
            held = sum(entry.file_size for entry in archive.zip.infolist())
            room = len(PICTURES) * sample.frames * sample.width * sample.height + 24 * sample.frames + HEADERS_BYTES
            if held > room:  # a few bytes of deflate can stand for a machine's memory
                raise ValueError(f"{held} bytes where frames of their size take {room} at most")
            arrays = {name: archive[name] for name in archive.files}
        shape = (len(arrays["frame"]), *arrays["code_high"].shape[1:])
        pictures = [arrays[name] for name in PICTURES if name in arrays]
        if any(array.shape != shape or array.dtype != np.uint8 for array in pictures) or min(shape) < 1:
            raise ValueError("pictures of several sizes")
        if len(shape) != 3 or arrays["inverse_range"].shape != (shape[0], 2) or arrays["frame"].dtype != np.int64:
            raise ValueError("arrays that do not belong together")
        if not 0 <= arrays["frame"].min() <= arrays["frame"].max() < sample.frames:
            raise ValueError(f"maps of frames that are not among its {sample.frames}")
    except (ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise _corrupt(sample, error) from None
    return arrays


def _maps(arrays: Mapping[str, NDArray], sample: Sample) -> DepthMap:
    try:
        with np.errstate(all="ignore"):  # of ranges that are none, which the maps refuse
            return depth_of_arrays(arrays, ScaleKind(sample.scale))
    except (ValueError, KeyError, InputError) as error:
        raise _corrupt(sample, error) from None


def _corrupt(sample: Sample, got: object) -> CorruptShardError:
    return CorruptShardError(f"{sample.shard}: expected {sample.key}.{DEPTH} to be depth maps, got {got}")
