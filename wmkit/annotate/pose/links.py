"""Tie keyframes that tracks leave apart: wide steps, cuts in the tracks, revisits of a place.

Features of such keyframes are described, matched and chained into further tracks, so that the mapper sees one kind
of correspondence. Smooth video without revisits has nothing to tie and costs nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.pose.features import FeatureConfig, Features, describe, match
from wmkit.annotate.pose.tracks import Tracks
from wmkit.video.frames import FrameSource

__all__ = ["LinkConfig", "Pair", "link_keyframes"]

QUICK_FRAMES = 100  # of more keyframes fewer features are compared: all pairs of them are, and the time stays

Pair = tuple[int, int]
Node = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """When features are matched.

    weak_tracks     a step between keyframes that share fewer tracks is matched by features ...
    reach           ... among the keyframes up to this many before and after it.
    tie             matches from which a pair counts as tied: fewer may follow a fundamental matrix by chance.
    similar         most similar keyframes of other pieces that each is matched with when neighbours do not tie all.
    quick_features  strongest features that decide which look similar ...
    quick_cosine    ... by how many of them have a mutual nearest neighbour at least so close.
    revisit         correlation of thumbnails from which two keyframes without a common track may show one place.
    max_revisits    pairs of such keyframes matched at most.
    max_described   features of all described keyframes together: of many each has fewer, and so fewer that decide
                    which look similar. Bounds memory (512 bytes each) and the time to compare them.
    max_pairs       pairs that looking similar may add.
    long            keyframes beyond which a clip is mapped in windows that a revisit must tie: its features are then
                    followed ...
    beside          ... to the keyframes so many before and after, so that either visit can triangulate them.
    apart           of revisits whose ends are both closer than this one is enough.
    """

    features: FeatureConfig = FeatureConfig()
    weak_tracks: int = 100
    reach: int = 6
    tie: int = 40
    similar: int = 8
    quick_features: int = 300
    quick_cosine: float = 0.85
    revisit: float = 0.75
    max_revisits: int = 12
    max_described: int = 400_000
    max_pairs: int = 1200
    long: int = 80
    beside: int = 2
    apart: int = 8


def link_keyframes(
    frames: FrameSource, tracks: Tracks, keyframes: tuple[int, ...], config: LinkConfig
) -> tuple[Tracks, tuple[Pair, ...]]:
    """The tracks with those of matched features added, and the pairs of frames (i < j) these tie.

    Weak steps are matched among their neighbours; where that leaves the keyframes in pieces, every keyframe is
    matched with the most similar ones of other pieces. Costs a pass over the frames, or two, iff there is
    anything to tie.
    """
    shared = [len(tracks.common(a, b)[0]) for a, b in pairwise(keyframes)]
    weak = [step for step, count in enumerate(shared) if count < config.weak_tracks]
    matcher = _Matcher(frames, keyframes, config)
    revisits = _revisits(tracks, keyframes, config)
    matcher.match(_around(weak, len(keyframes), config.reach) | revisits)
    if len(keyframes) > config.long:
        matcher.match(_beside(sorted(revisits & matcher.matched.keys()), len(keyframes), config))
    strong = [step for step in range(len(shared)) if step not in weak]
    tied = [pair for pair, found in matcher.matched.items() if len(found) >= config.tie]
    piece = _pieces(len(keyframes), strong, tied)
    if piece.max(initial=0) > 0 and config.similar > 0:
        matcher.describe(range(len(keyframes)))
        matcher.match(_similar(matcher.features, piece, config))
    matched = {(keyframes[i], keyframes[j]): found for (i, j), found in matcher.matched.items()}
    features = {keyframes[k]: item for k, item in matcher.features.items()}
    return (_extended(tracks, features, matched) if matched else tracks), tuple(sorted(matched))


class _Matcher:
    """Describes keyframes once and matches pairs of them; all by keyframe number."""

    def __init__(self, frames: FrameSource, keyframes: tuple[int, ...], config: LinkConfig) -> None:
        self.frames, self.keyframes, self.config = frames, keyframes, config
        self.features: dict[int, Features] = {}
        self.matched: dict[Pair, NDArray[np.intp]] = {}

    def describe(self, wanted: Iterable[int]) -> None:
        """Features of the `wanted` keyframes that have none yet, in one pass over the frames."""
        number = {self.keyframes[k]: k for k in wanted if k not in self.features}
        if not number:
            return
        most = min(self.config.features.max_features, self.config.max_described // len(number))
        config = replace(self.config.features, max_features=most)
        for window in self.frames.windows():
            for offset, rgb in enumerate(window.rgb):
                if window.start + offset in number:
                    self.features[number[window.start + offset]] = describe(rgb, config)

    def match(self, pairs: set[Pair]) -> None:
        """Match every pair (i < j); those that do not match are not kept."""
        self.describe(sorted({k for pair in pairs for k in pair}))
        for i, j in sorted(pairs - self.matched.keys()):
            found = match(self.features[i], self.features[j], self.config.features)
            if len(found):
                self.matched[i, j] = found


def _pieces(count: int, steps: Iterable[int], matched: Iterable[Pair]) -> NDArray[np.intp]:
    """(count,) number of the connected piece each keyframe belongs to; strong `steps` tie k and k + 1."""
    piece = np.arange(count)
    for i, j in (*((step, step + 1) for step in steps), *matched):
        piece[piece == piece[j]] = piece[i]
    return np.unique(piece, return_inverse=True)[1]


def _around(weak: list[int], count: int, reach: int) -> set[Pair]:
    """Pairs of keyframe numbers (i < j) at most `reach` apart with a weak step between them."""
    return {
        (i, j)
        for step in weak
        for i in range(max(0, step - reach + 1), step + 1)
        for j in range(step + 1, min(count, i + reach + 1))
    }


def _beside(revisits: list[Pair], count: int, config: LinkConfig) -> set[Pair]:
    """Pairs that follow the features of either end of a revisit to the keyframes beside it."""
    taken: list[Pair] = []
    for i, j in revisits:
        if not any(max(abs(i - p), abs(j - q)) <= config.apart for p, q in taken):
            taken.append((i, j))
    step = config.beside
    pairs = {(at, at + step) for pair in taken for end in pair for at in (end - step, end)}
    return {(i, j) for i, j in pairs if i >= 0 and j < count}


def _similar(features: dict[int, Features], piece: NDArray[np.intp], config: LinkConfig) -> set[Pair]:
    """For each keyframe the `similar` others outside its piece whose strongest features resemble its own most."""
    count = len(piece)
    quick = min(config.quick_features, config.quick_features * QUICK_FRAMES // count)
    strongest = [features[k].descriptor[:quick] for k in range(count)]
    votes = np.zeros((count, count))
    for i in range(count):
        for j in range(i + 1, count):
            if piece[i] != piece[j] and len(strongest[i]) and len(strongest[j]):
                votes[i, j] = votes[j, i] = _resemblance(strongest[i], strongest[j], config.quick_cosine)
    similar = max(1, min(config.similar, config.max_pairs // count))
    nearest = np.argsort(-votes, axis=1, kind="stable")[:, :similar]
    return {(min(i, j), max(i, j)) for i in range(count) for j in nearest[i].tolist() if votes[i, j] > 0}


def _resemblance(a: NDArray[np.float32], b: NDArray[np.float32], cosine: float) -> int:
    """How many descriptors are each other's nearest and closer than `cosine`."""
    similarity = a @ b.T
    best = similarity.argmax(axis=1)
    mutual = similarity.argmax(axis=0)[best] == np.arange(len(a))
    return int(np.count_nonzero(mutual & (similarity.max(axis=1) > cosine)))


def _revisits(tracks: Tracks, keyframes: tuple[int, ...], config: LinkConfig) -> set[Pair]:
    """Pairs of keyframe numbers without a common track whose thumbnails correlate best."""
    picture = tracks.thumbnail[list(keyframes)].reshape(len(keyframes), -1).astype(np.float64)
    picture -= picture.mean(axis=1, keepdims=True)
    picture /= np.maximum(np.linalg.norm(picture, axis=1, keepdims=True), 1e-9)
    alike = np.triu(picture @ picture.T, 1)
    found: set[Pair] = set()
    for i, j in zip(*np.unravel_index(np.argsort(-alike, axis=None, kind="stable"), alike.shape), strict=True):
        if alike[i, j] < config.revisit or len(found) == config.max_revisits:
            break
        if j > i and len(tracks.common(keyframes[i], keyframes[j])[0]) == 0:
            found.add((int(i), int(j)))
    return found


def _extended(tracks: Tracks, features: dict[int, Features], matched: dict[Pair, NDArray[np.intp]]) -> Tracks:
    """Tracks of chained matches beside the old ones, numbered after them."""
    chains = _chains(matched)
    born = len(tracks.rgb)
    ids, xy = [list(row) for row in tracks.ids], [list(row) for row in tracks.xy]
    rgb = []
    for number, chain in enumerate(chains):
        for frame, at in chain:
            ids[frame].append(born + number)
            xy[frame].append(features[frame].xy[at])
        frame, at = chain[0]
        rgb.append(features[frame].rgb[at])
    return replace(
        tracks,
        ids=tuple(np.array(row, np.int64) for row in ids),
        xy=tuple(np.array(row, np.float32).reshape(-1, 2) for row in xy),
        rgb=np.concatenate([tracks.rgb, np.array(rgb, np.uint8).reshape(-1, 3)]),
    )


def _chains(matched: dict[Pair, NDArray[np.intp]]) -> list[list[Node]]:
    """Matches joined into chains, most trusted pairs first; a join that would see one frame twice is left out."""
    chain_of: dict[Node, list[Node]] = {}
    for pair in sorted(matched, key=lambda pair: (-len(matched[pair]), pair)):
        for a, b in matched[pair].tolist():
            left = chain_of.setdefault((pair[0], a), [(pair[0], a)])
            right = chain_of.setdefault((pair[1], b), [(pair[1], b)])
            if left is right or {frame for frame, _ in left} & {frame for frame, _ in right}:
                continue
            left.extend(right)
            for node in right:
                chain_of[node] = left
    chains = {id(chain): sorted(chain) for chain in chain_of.values() if len(chain) > 1}
    return sorted(chains.values())
