"""Camera and trajectory files other tools read and write: one format a file, both directions.

Every reader returns a `CameraTrack` in wmkit's convention (world_from_cam, OpenCV axes, intrinsics in px with pixel
centres at half-integers), every writer takes one. The words pose, extrinsic, c2w and w2c live here and nowhere else.
"""

__all__: list[str] = []
