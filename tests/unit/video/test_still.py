"""A single picture made smaller, and as JPEG."""

import cv2
import numpy as np
import pytest

from wmkit.errors import InputError
from wmkit.video.still import jpeg_bytes, shrunk


def test_a_picture_is_shrunk_to_its_long_side_and_never_enlarged() -> None:
    picture = np.zeros((100, 300, 3), dtype=np.uint8)
    assert shrunk(picture, 150).shape == (50, 150, 3)
    assert shrunk(picture, 300) is picture
    assert shrunk(picture[:, :, 0], 3).shape == (1, 3)
    assert shrunk(picture[:, :, 0], 30, least_px=16).shape == (16, 30)


def test_jpeg_keeps_the_order_of_the_channels() -> None:
    red = np.zeros((16, 16, 3), dtype=np.uint8)
    red[..., 0] = 200
    back = cv2.imdecode(np.frombuffer(jpeg_bytes(red, 95), np.uint8), cv2.IMREAD_COLOR)
    assert back is not None
    # Quantised chroma: a few grey levels off at quality 95.
    np.testing.assert_allclose(back[8, 8], (0, 0, 200), atol=6)


def test_a_picture_that_jpeg_cannot_hold_is_refused() -> None:
    with pytest.raises(InputError, match="JPEG can hold"):
        jpeg_bytes(np.zeros((1, 70_000, 3), dtype=np.uint8), 90)
