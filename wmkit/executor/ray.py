"""Ray actors as workers: one CPU or one GPU each, one item in flight; only items and replies cross, never files or
frames.

Each actor watches over one worker process of `wmkit.executor.local`, so that a crash or a hang ends, reads and costs
the same with and without Ray. Everything durable is outside Ray. With an address the actors run on that cluster,
whose machines must see the same paths; otherwise a cluster of this machine alone is started, and ended with the pool.
"""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from wmkit.clock import monotonic_s
from wmkit.errors import InputError, WorkersLostError
from wmkit.executor.local import LocalPool
from wmkit.executor.loop import Died, Event
from wmkit.executor.task import ItemTask

__all__ = ["RayPool", "cluster_address", "cluster_gpus", "connected"]

OBJECT_STORE_BYTES = 100_000_000  # Ray's least is 75 MB; replies are a few kB
QUIET_ENV = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what the FutureWarning on every start asks for
}
KILL_WAIT_S = 10.0
CHECK_S = 5.0  # between two looks at this machine's raylet while nothing happens


class _Supervisor:
    """The actor: a pool of one process. Two threads, so that `stop` is heard while `run` waits."""

    def __init__(self, task: ItemTask) -> None:
        self._pool = LocalPool(task, 1)

    def ready(self) -> Event:
        self._pool.start(0)
        events = self._pool.wait(LocalPool.start_timeout_s)
        return events[0] if events else Died(0, "was not ready in time", self._pool.kill(0))

    def run(self, payload: Any) -> Event:
        self._pool.submit(0, payload)
        return self._pool.wait(None)[0]

    def stop(self) -> None:
        self._pool.stop(0)


class RayPool:
    """`size` actors. Ray itself neither restarts them nor retries: attempts are counted in one place, the leases.

    The last `gpus` of them claim a GPU and no CPU: beside those that claim a CPU each they would else wait for ever.
    """

    start_timeout_s: float | None = None  # on a busy cluster an actor waits for its CPU as long as it takes

    def __init__(self, task: ItemTask, size: int, address: str | None = None, gpus: int = 0) -> None:
        """`address`: see `cluster_address`. InputError when GPUs are asked for and the cluster has none."""
        _prepare(cluster_address(address))
        import ray

        self._session = ExitStack()
        if not ray.is_initialized():
            self._session.enter_context(connected(max(1, size - gpus), address, gpus))
        there = ray.cluster_resources()
        self.gpus = min(gpus, int(there.get("GPU", 0)))
        if gpus and not self.gpus:
            self._session.close()
            raise InputError(f"--gpu-workers: expected GPUs in the Ray cluster for {gpus}, it has none; pass 0")
        self.size = min(size - gpus, max(1, int(there.get("CPU", 1)))) + self.gpus
        self._task = task
        self._actors: dict[int, Any] = {}
        self._calls: dict[Any, int] = {}  # pending call -> worker
        remote: Any = ray.remote
        self._actor_class = remote(max_restarts=0, max_task_retries=0, max_concurrency=2)(_Supervisor)

    def start(self, worker: int) -> None:
        """Create the actor, or a new process in the one there is; it says Ready once the task's module is loaded."""
        if worker not in self._actors:
            claim = {"num_cpus": 1} if worker < self.size - self.gpus else {"num_cpus": 0, "num_gpus": 1}
            self._actors[worker] = self._actor_class.options(**claim).remote(self._task)
        self._calls[self._actors[worker].ready.remote()] = worker

    def submit(self, worker: int, payload: Any) -> None:
        """Call the actor with one item."""
        self._calls[self._actors[worker].run.remote(payload)] = worker

    def wait(self, timeout_s: float | None) -> list[Event]:
        """Replies and deaths since the last call; WorkersLostError when this machine's part of Ray is gone."""
        import ray

        end_s = None if timeout_s is None else monotonic_s() + timeout_s
        while True:
            left_s = CHECK_S if end_s is None else max(0.0, min(CHECK_S, end_s - monotonic_s()))
            done, _ = ray.wait(list(self._calls), num_returns=1, timeout=left_s)
            if done:
                return [self._event(call) for call in done]
            _check_node()
            if end_s is not None and monotonic_s() >= end_s:
                return []

    def kill(self, worker: int) -> str:
        """End the actor's process, or the actor if it does not answer; returns the stacks the process was killed in."""
        import ray
        from ray.exceptions import GetTimeoutError, RayError

        call = next(call for call, number in self._calls.items() if number == worker)
        del self._calls[call]
        try:
            ray.get(self._actors[worker].stop.remote(), timeout=KILL_WAIT_S)
            event: Any = ray.get(call, timeout=KILL_WAIT_S)
        except (RayError, GetTimeoutError):
            ray.kill(self._actors.pop(worker), no_restart=True)
            return ""
        return event.log if isinstance(event, Died) else ""

    def close(self) -> None:
        """End all actors, and the cluster if this pool started it."""
        import ray

        for actor in self._actors.values():
            ray.kill(actor, no_restart=True)  # its process ends with it
        self._actors.clear()
        self._calls.clear()
        self._session.close()

    def _event(self, call: Any) -> Event:
        import ray
        from ray.exceptions import RayActorError

        worker = self._calls.pop(call)
        try:
            event: Any = ray.get(call)
        except RayActorError as error:  # the machine or the actor itself is gone, not just its process
            _check_node()
            del self._actors[worker]
            memory = "NODE_OUT_OF_MEMORY" in str(error)
            return Died(worker, "was lost with its Ray actor", str(error), out_of_memory=memory)
        return replace(event, worker=worker)


def _check_node() -> None:
    """WorkersLostError when the raylet that this process is a client of has died: a new actor would be waited for
    without end. What other machines of a cluster lose is an actor's affair."""
    import ray

    own = ray.get_runtime_context().get_node_id()
    if not any(node["NodeID"] == own and node["Alive"] for node in ray.nodes()):
        raise WorkersLostError(
            "Ray: expected its raylet on this machine to run, it has died (often for lack of memory); what is finished "
            "is on disk, run the same command again"
        )


def cluster_address(address: str | None) -> str | None:
    """Which cluster is meant: `auto` the one this machine belongs to, `local` none (one of this machine alone is
    started), a host:port that one; None: what RAY_ADDRESS says, else none."""
    if address is None:
        address = os.environ.get("RAY_ADDRESS") or None
    return None if address == "local" else address


@contextmanager
def connected(cpus: int, address: str | None = None, gpus: int = 0) -> Iterator[None]:
    """A Ray session: on the cluster that `cluster_address` finds, else on a quiet one of `cpus` CPUs and `gpus` GPUs
    started here.

    Pools made inside share it. InputError when the named cluster does not answer.
    """
    address = cluster_address(address)
    _prepare(address)
    import ray

    _connect(cpus, gpus, address)
    try:
        yield
    finally:
        ray.shutdown()


def cluster_gpus(address: str | None = None) -> int:
    """GPUs of the cluster that `cluster_address` finds, which must be one; InputError when it does not answer."""
    _prepare(cluster_address(address))
    import ray

    with nullcontext() if ray.is_initialized() else connected(1, address):
        return int(ray.cluster_resources().get("GPU", 0))


def _prepare(address: str | None) -> None:
    """Ray reads these once, when it is first imported.

    Its ports listen on every interface and run what they are sent: a session of our own gets a token, so that only
    this process and its children are heard. What the user says about tokens is left alone.
    """
    for name, value in QUIET_ENV.items():
        os.environ.setdefault(name, value)
    if address is None and "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _connect(cpus: int, gpus: int, address: str | None) -> None:
    import logging

    import ray

    if address is not None:
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        except ConnectionError as error:
            raise InputError(
                f"--ray-address {address}: expected a Ray cluster that lets this process in, got {error}; "
                "check the address, and RAY_AUTH_MODE=token with the cluster's RAY_AUTH_TOKEN"
            ) from error
        return
    try:
        ray.init(
            address="local",
            num_cpus=cpus,
            num_gpus=gpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    except Exception as error:  # Ray raises nothing narrower when one of its processes dies at its start
        ray.shutdown()
        said = " ".join(str(error).split())
        raise WorkersLostError(
            f"Ray: expected it to start on this machine, got {said}; nothing was begun, run the same command again, "
            "or with --executor local"
        ) from error
