"""Folders of 8-bit images as clips: time = position in the sequence / image_fps.

JPEG, PNG, BMP and WebP through OpenCV; the EXIF orientation becomes `rotation_deg` like a video's display matrix.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.errors import ClipError
from wmkit.video.frames import ClipFile, DecodeFacts, VideoConfig
from wmkit.video.guard import STAGE, IndexBuilder, check_pixels, file_changed
from wmkit.video.image_header import clockwise_from_exif, exif_orientation, image_size
from wmkit.video.quiet import quiet_opencv

__all__ = ["ImagesDecoder"]

_EXIF = cv2.IMAGE_METADATA_EXIF


class ImagesDecoder:
    """`Decoder` of image folders; every name in `file.images` is one frame."""

    name: ClassVar[str] = "images"

    def index(self, file: ClipFile, config: VideoConfig) -> DecodeFacts:
        """See `Decoder.index`. An image that cannot be read is noted and leaves its time slot empty.

        Codes: mixed_sizes (one size and orientation is expected), zero_frames, too_many_pixels, too_many_frames,
        mirrored (EXIF orientations 2, 4, 5, 7).
        """
        builder = IndexBuilder(file.name, config.limits, file.end_s)
        shape: tuple[int, int, int] | None = None
        for position, image in enumerate(file.images):
            if builder.ended:
                break
            decoded = _read(file, image, config, builder)
            if decoded is None:
                continue
            picture, rotation_deg = decoded
            height, width = picture.shape[:2]
            if shape is None:
                shape = (width, height, rotation_deg)
            elif shape != (width, height, rotation_deg):
                was, now = (f"{w}x{h} turned {turn} deg" for w, h, turn in (shape, (width, height, rotation_deg)))
                message = f"{file.name}: expected images of one size, got {was} and, at {image}, {now}; sort them"
                raise ClipError(STAGE, "mixed_sizes", message)
            builder.keeps(position / config.image_fps, corrupt=False)
        if shape is None:
            raise builder.nothing()
        pts_s, corrupt = builder.arrays()
        return DecodeFacts(
            decoder=self.name,
            codec=Path(file.images[0]).suffix.lower().lstrip("."),
            pixel_format="rgb24",
            decoded_width=shape[0],
            decoded_height=shape[1],
            rotation_deg=shape[2],
            sample_aspect_ratio=1.0,
            pts_s=pts_s,
            corrupt=corrupt,
            errors=builder.notes,
        )

    def frames(
        self, file: ClipFile, config: VideoConfig, facts: DecodeFacts, keep: NDArray[np.bool_]
    ) -> Iterator[NDArray[np.uint8]]:
        """See `Decoder.frames`."""
        positions = np.rint(facts.pts_s[keep] * config.image_fps).astype(int)
        for position in positions:
            decoded = _read(file, file.images[position], config, IndexBuilder(file.name, config.limits, file.end_s))
            if decoded is None or decoded[0].shape[:2] != (facts.decoded_height, facts.decoded_width):
                raise file_changed(file.name)
            yield decoded[0]


def _read(
    file: ClipFile, image: str, config: VideoConfig, builder: IndexBuilder
) -> tuple[NDArray[np.uint8], int] | None:
    """RGB as stored and its clockwise turn; None, with a note, when the image cannot be decoded."""
    try:
        data = (Path(file.path) / image).read_bytes()
    except OSError as error:
        builder.note(f"{image}: {error.strerror}")
        return None
    size = image_size(data)
    if size is not None:
        check_pixels(f"{file.name}/{image}", *size, config.limits)
    if not data:
        builder.note(f"{image}: 0 bytes")
        return None
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    with quiet_opencv():
        picture, kinds, blocks = cv2.imdecodeWithMetadata(np.frombuffer(data, np.uint8), flags)
    if picture is None:
        builder.note(f"{image}: not an image that decodes")
        return None
    check_pixels(f"{file.name}/{image}", picture.shape[1], picture.shape[0], config.limits)
    exif = next((block.tobytes() for kind, block in zip(kinds, blocks, strict=True) if kind == _EXIF), b"")
    return picture.astype(np.uint8, copy=False), clockwise_from_exif(f"{file.name}/{image}", exif_orientation(exif))
