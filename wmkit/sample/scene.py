"""One scene of a benchmark, in a worker: its sample, by models that the worker loads once."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from wmkit.errors import ClipError, InputError, WmkitError
from wmkit.evaluate.scenes import BenchScene
from wmkit.formats.any import read_trajectory
from wmkit.sample.options import SampleOptions
from wmkit.sample.parts import Parts, load_parts
from wmkit.sample.run import run_sample

__all__ = ["SceneTask", "make_scene"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneTask:
    """What a worker is told: where to, what is the same for every scene, and whether the model reads prompts."""

    out: Path
    options: SampleOptions
    has_text: bool

    def asked(self, scene: BenchScene) -> SampleOptions:
        """The scene's sample; InputError for one without an image or with cameras that cannot be read."""
        if scene.image is None:
            raise InputError(f"{scene.id}: expected an image_path in its row, got none")
        holds_intrinsics = read_trajectory(scene.cameras).intrinsics_px is not None
        return replace(
            self.options,
            image=scene.image,
            trajectory=str(scene.cameras),
            intrinsics=scene.cameras if holds_intrinsics else None,
            prompt=scene.prompt if self.has_text else None,
            out=self.out / f"{scene.id}.mp4",
        )


def make_scene(task: SceneTask, scene: BenchScene) -> tuple[str, ...]:
    """Make the scene's video with its sidecar; what was assumed, cut or held. ClipError with what is wrong with it."""
    told: list[str] = []
    try:
        run_sample(task.asked(scene), told.append, parts=_loaded(task.options))
    except WmkitError as error:
        raise ClipError("sample", "input", str(error)) from error
    except OSError as error:
        raise ClipError("sample", "disk", f"{task.out}: {error.strerror or error}") from error
    return tuple(told)


@lru_cache(maxsize=1)
def _loaded(options: SampleOptions) -> Parts:
    return load_parts(options)
