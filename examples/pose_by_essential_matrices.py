"""A pose program for `wmkit annotate --pose-command`: essential matrices from frame to frame, OpenCV alone.

    wmkit annotate clip.mp4 --fov-deg 60 --pose-command "python examples/pose_by_essential_matrices.py"

Called with FOLDER OUT.npz (the contract is in wmkit/annotate/pose/command.py). A short worked example, not a good
engine: the length of a step is taken over from the last one by the points both steps see, errors add up. Replace
`chain` by your own model's forward pass to wrap it.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np

FOV_DEG = 60.0  # assumed where the request has no prior


def main(folder: Path, out: Path) -> None:
    """Read FOLDER/request.json and frames, write OUT.npz."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    k = camera_matrix(request)
    gray = [
        cv2.imread(str(folder / "frames" / f"{index:06d}.png"), cv2.IMREAD_GRAYSCALE)
        for index in range(request["frames"])
    ]
    row = [k[0, 0], k[1, 1], k[0, 2], k[1, 2]]
    np.savez(out, world_from_cam=chain(gray, k), intrinsics=np.array(row))


def camera_matrix(request: dict) -> np.ndarray:
    """K (3, 3), the first pixel's centre at (0.5, 0.5), from the prior or an assumed field of view."""
    width, height, prior = request["width"], request["height"], request["prior"]
    focal = width / 2 / np.tan(np.radians(FOV_DEG) / 2)
    fx, fy = (prior["fx"], prior["fy"]) if prior else (focal, focal)
    known = prior is not None and prior["cx"] is not None
    cx, cy = (prior["cx"], prior["cy"]) if known else (width / 2, height / 2)
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def chain(gray: list[np.ndarray], k: np.ndarray) -> np.ndarray:
    """(N, 4, 4) world_from_cam; NaN from the first step on that fails."""
    poses = np.full((len(gray), 4, 4), np.nan)
    poses[0] = np.eye(4)
    depth: dict[tuple[float, float], float] = {}  # of points, by their place in the frame just left
    for index in range(1, len(gray)):
        before, after = follow(gray[index - 1], gray[index], depth)
        found = step(before, after, k)
        if found is None:
            break
        rotation, t, inlier, z_before, z_after = found
        pairs = [
            (depth[tuple(xy)], z) for xy, z in zip(before[inlier].tolist(), z_before, strict=True) if tuple(xy) in depth
        ]
        length = float(np.median([known / z for known, z in pairs])) if len(pairs) >= 8 else 1.0
        cam_from_before = np.eye(4)
        cam_from_before[:3, :3], cam_from_before[:3, 3] = rotation, t * length
        poses[index] = poses[index - 1] @ np.linalg.inv(cam_from_before)
        depth = {tuple(xy): z * length for xy, z in zip(after[inlier].tolist(), z_after.tolist(), strict=True)}
    return poses


def follow(
    before: np.ndarray, after: np.ndarray, depth: dict[tuple[float, float], float]
) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) of one frame and where they are in the next: known ones first, then new corners."""
    corners = cv2.goodFeaturesToTrack(before, 800, 0.005, 7)
    new = np.zeros((0, 2), np.float32) if corners is None else corners[:, 0]
    points = np.concatenate([np.array(list(depth), np.float32).reshape(-1, 2), new])
    moved, status, _ = cv2.calcOpticalFlowPyrLK(before, after, points, None)
    back, status_back, _ = cv2.calcOpticalFlowPyrLK(after, before, moved, None)
    good = (status[:, 0] == 1) & (status_back[:, 0] == 1) & (np.linalg.norm(back - points, axis=1) < 0.5)
    return points[good], moved[good]


def step(before: np.ndarray, after: np.ndarray, k: np.ndarray) -> tuple | None:
    """Rotation, unit translation, inliers and their depths in both cameras; None when the step does not hold."""
    if len(before) < 30:
        return None
    centre = k - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]  # OpenCV has the first pixel's centre at 0
    essential, mask = cv2.findEssentialMat(before, after, centre, cv2.RANSAC, 0.999, 0.7)
    if essential is None or essential.shape != (3, 3):
        return None
    # points are kept up to 1000 baselines away: from frame to frame a camera moves little
    count, rotation, t, mask, _ = cv2.recoverPose(essential, before, after, centre, distanceThresh=1000.0, mask=mask)
    if count < 20:
        return None
    inlier = mask[:, 0] > 0
    ray = [np.column_stack([xy, np.ones(len(xy))]) @ np.linalg.inv(centre).T for xy in (before[inlier], after[inlier])]
    turned = ray[0] @ rotation.T
    cross = np.cross(ray[1], turned)
    z_before = -(np.cross(ray[1], t[:, 0]) * cross).sum(1) / np.maximum((cross**2).sum(1), 1e-12)
    z_after = (turned * z_before[:, None] + t[:, 0])[:, 2]
    good = (z_before > 0) & (z_after > 0)
    inlier[np.flatnonzero(inlier)[~good]] = False
    return rotation, t[:, 0], inlier, z_before[good], z_after[good]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
