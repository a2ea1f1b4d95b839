"""Frame-wise Gated DeltaNet (SANA-WM Eq. 3 and 5): one meaning, several paths to it, all tested against `literal`."""

from wmkit.model.ops.frame_gdn.layout import ChunkLayout
from wmkit.model.ops.frame_gdn.op import (
    NORMALISER_EPS,
    GdnState,
    bidirectional_read,
    frame_gdn,
    key_scale,
    stream_frame_gdn,
    stream_read,
)
from wmkit.model.ops.frame_gdn.paths import Backend

__all__ = ["NORMALISER_EPS", "Backend", "ChunkLayout", "GdnState", "bidirectional_read", "frame_gdn", "key_scale",
           "stream_frame_gdn", "stream_read"]  # fmt: skip
