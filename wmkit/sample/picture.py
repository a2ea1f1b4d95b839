"""The picture a video begins with: decoded, upright, with the focal length its own metadata tells, if it does."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.errors import ClipError, InputError
from wmkit.video.image_header import clockwise_from_exif, exif_focal_35mm, exif_orientation, image_size
from wmkit.video.quiet import quiet_opencv

__all__ = ["Picture", "read_picture"]

FILM_DIAGONAL_MM = float(np.hypot(36.0, 24.0))
MAX_PIXELS = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """An upright RGB picture.

    rgb            (h, w, 3) uint8.
    focal_35mm_mm  35 mm equivalent focal length in mm by its EXIF, None when that does not say.
    sha256         of the file.
    """

    rgb: NDArray[np.uint8]
    focal_35mm_mm: float | None
    sha256: str

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) px."""
        return self.rgb.shape[1], self.rgb.shape[0]

    @property
    def focal_px(self) -> float | None:
        """Focal length in px by EXIF: the 35 mm equivalent relates the diagonals (CIPA DCG-001), 43.27 mm of film's."""
        if self.focal_35mm_mm is None:
            return None
        return self.focal_35mm_mm * float(np.hypot(*self.size)) / FILM_DIAGONAL_MM


def read_picture(path: Path) -> Picture:
    """Decode a JPEG, PNG, BMP or WebP of 8 bits; InputError when it is missing, none of these, damaged or mirrored."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"--image: expected a picture at {path}, got: {error.strerror}") from error
    size = image_size(data)
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise InputError(f"--image: expected at most {MAX_PIXELS} px, got {size[0]}x{size[1]} in {path}; shrink it")
    picture, exif = None, b""
    if data:
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        with quiet_opencv():
            picture, kinds, blocks = cv2.imdecodeWithMetadata(np.frombuffer(data, np.uint8), flags)
        if picture is not None:
            pairs = zip(kinds, blocks, strict=True)
            exif = next((block.tobytes() for kind, block in pairs if kind == cv2.IMAGE_METADATA_EXIF), b"")
    if picture is None:
        raise InputError(f"--image: expected a picture (JPEG, PNG, BMP, WebP), but {path} does not decode as one")
    try:
        turn_deg = clockwise_from_exif(path.name, exif_orientation(exif))
    except ClipError as error:
        raise InputError(f"--image: {error.message}") from error
    upright = np.rot90(picture, k=-turn_deg // 90)
    if min(upright.shape[:2]) < 2:
        raise InputError(f"--image: expected at least 2x2 px, got {upright.shape[1]}x{upright.shape[0]} in {path}")
    return Picture(
        rgb=np.ascontiguousarray(upright.astype(np.uint8, copy=False)),
        focal_35mm_mm=exif_focal_35mm(exif),
        sha256=hashlib.sha256(data).hexdigest(),
    )
