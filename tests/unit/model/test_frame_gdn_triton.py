"""Triton kernels of the frame-wise GDN: under the interpreter on any CPU, compiled where there is a GPU; the choice."""

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.unit.house.source_tree import ROOT
from wmkit.errors import ConfigError
from wmkit.model.ops.frame_gdn import paths

WORKER = [sys.executable, "-m", "tests.unit.model.triton_worker"]


def says(line: str, arguments: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        [*WORKER, *arguments], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == line, done.stderr[-2000:]


def test_interpreted_kernels_equal_the_equation_in_values_and_gradients() -> None:
    pytest.importorskip("triton", reason="needs the extra wmkit[gpu]")
    says("kernels agree", [], {"TRITON_INTERPRET": "1"})


def test_kernels_compile_for_hopper_without_one(tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="needs the extra wmkit[gpu]")
    says("kernels compile", ["compile"], {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_compiled_kernels_equal_the_equation_in_values_and_gradients() -> None:
    says("kernels agree", ["cuda"], {"TRITON_INTERPRET": "0"})


def test_auto_takes_the_kernels_on_a_gpu_once_they_have_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeTensorMode():
        x = torch.empty(1, device="cuda:1", dtype=torch.bfloat16)
        wide = torch.empty(1, device="cuda:1", dtype=torch.float64)
    asked: list[int] = []
    for passed, name in ((True, "triton"), (False, "scan")):
        monkeypatch.setattr(paths, "_checked", lambda device, passed=passed: asked.append(device) or passed)
        assert paths.choose_backend("auto", x) == name
    assert paths.choose_backend("auto", wide) == "scan"
    assert paths.choose_backend("auto", torch.empty(1)) == "scan"
    assert asked == [1, 1]


def test_kernels_that_fail_their_check_are_named_once_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str | None] = ["k differs from scan by 1.0e+00 in bfloat16", None]
    path = types.SimpleNamespace(self_check=lambda device: said[device.index])
    monkeypatch.setitem(sys.modules, "wmkit.model.ops.frame_gdn.triton_path", path)  # type: ignore[arg-type]
    monkeypatch.setattr(paths, "find_spec", lambda name: object())
    paths._checked.cache_clear()
    try:
        with pytest.warns(UserWarning, match="not used on cuda:0: k differs from scan"):
            assert not paths._checked(0)
        assert not paths._checked(0)  # a second warning would be an error
        assert paths._checked(1)
        monkeypatch.setattr(paths, "find_spec", lambda name: None)
        assert not paths._checked(2)
    finally:
        paths._checked.cache_clear()


def test_kernels_that_cannot_be_made_are_left_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """No C compiler, too little shared memory, a package that cannot be imported: a reason, and `scan`."""

    class TritonError(Exception):
        """Triton's own errors are no RuntimeError."""

    raised: list[Exception] = [
        RuntimeError("Failed to find C compiler"),
        subprocess.CalledProcessError(1, "gcc"),
        TritonError("out of resource: shared memory, Required: 131072"),
    ]

    def self_check(device: torch.device) -> str | None:
        raise raised[device.index]

    path, errors = types.SimpleNamespace(self_check=self_check), types.SimpleNamespace(TritonError=TritonError)
    monkeypatch.setitem(sys.modules, "triton.errors", errors)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "triton", types.SimpleNamespace(errors=errors))  # type: ignore[arg-type]
    monkeypatch.setattr(paths, "find_spec", lambda name: object())
    paths._checked.cache_clear()
    try:
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, "wmkit.model.ops.frame_gdn.triton_path", path)  # type: ignore[arg-type]
            for device, words in enumerate(("Failed to find C", "CalledProcessError", "out of resource")):
                with pytest.warns(UserWarning, match=f"not used on cuda:{device}: .*{words}"):
                    assert not paths._checked(device)
        monkeypatch.setitem(sys.modules, "wmkit.model.ops.frame_gdn.triton_path", None)  # as if it failed to import
        with pytest.warns(UserWarning, match="not used on cuda:3: ModuleNotFoundError"):
            assert not paths._checked(3)
    finally:
        paths._checked.cache_clear()


def test_a_forced_backend_that_cannot_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(paths, "find_spec", lambda name: None)
        with pytest.raises(ConfigError, match=r"needs the package triton .*; use backend scan"):
            paths.choose_backend("triton", torch.empty(1))
    monkeypatch.setattr(paths, "find_spec", lambda name: object())
    with pytest.raises(ConfigError, match="float32 at most, got float64; use backend scan"):
        paths.choose_backend("triton", torch.empty(1, dtype=torch.float64))
    with pytest.raises(ConfigError, match="expected a backend of parts"):
        paths.path_of("literal")
