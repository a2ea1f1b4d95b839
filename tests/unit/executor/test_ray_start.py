"""A Ray that does not start is one line, whatever it raises."""

import pytest
import ray

from wmkit.errors import WorkersLostError
from wmkit.executor.ray import connected


def test_ray_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_start(**of: object) -> None:
        raise Exception("The current node timed out during startup.\nThis could happen because ...")  # as Ray does

    monkeypatch.setattr(ray, "init", no_start)
    with (
        pytest.raises(WorkersLostError, match=r"timed out during startup\. This could .*--executor local$"),
        connected(1),
    ):
        pass
