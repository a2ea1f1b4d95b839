"""The files of cluster/ are what Slurm, Kubernetes and our own command line accept, as far as a machine can see."""

import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from torch.distributed.run import get_args_parser

from tests.unit.house.source_tree import ROOT
from wmkit import cli
from wmkit.train.recipes import recipe

SLURM, TRAIN = ROOT / "cluster" / "annotate.slurm", ROOT / "cluster" / "train.slurm"
RAYJOBS = [ROOT / "cluster" / f"{verb}.rayjob.yaml" for verb in ("annotate", "train")]


def check_command(words: list[str]) -> None:
    """`wmkit VERB ...` as typed: the verb exists, and every flag of it."""
    assert words[0] == "wmkit"
    verbs: Any = typer.main.get_command(cli.app)
    known = {flag for parameter in verbs.commands[words[1]].params for flag in parameter.opts}
    assert {word for word in words[2:] if word.startswith("--")} <= known


def test_the_slurm_script_is_bash_and_starts_what_there_is() -> None:
    subprocess.run(["bash", "-n", str(SLURM)], check=True, capture_output=True)
    text = SLURM.read_text()
    assert text.startswith("#!/bin/bash\n")
    assert re.findall(r"^#SBATCH --(\S+?)=", text, re.MULTILINE) == [
        "job-name", "nodes", "ntasks-per-node", "cpus-per-task",
    ]  # fmt: skip
    srun = shlex.split(text[text.index("srun ") :].replace("\\\n", " "))
    ours = srun.index("wmkit")
    assert srun[:4] == ["srun", "--export=ALL", "ray", "symmetric-run"]
    assert srun[ours - 1] == "--"
    check_command(srun[ours:])
    scripts = pytest.importorskip("ray.scripts.scripts", reason="ray has no scripts here")
    run = scripts.cli.commands["symmetric-run"]
    own = {flag for parameter in run.params for flag in parameter.opts}
    started = {flag for parameter in scripts.cli.commands["start"].params for flag in parameter.opts}
    flags = {word for word in srun[4 : ours - 1] if word.startswith("--")}
    assert flags <= own | started
    assert {"--address", "--min-nodes"} <= flags & own


def test_the_slurm_script_stops_at_the_first_failure() -> None:
    """Run with stand-ins for Slurm: without arguments it starts nothing, with them the flags arrive."""
    stand_ins = "scontrol() { echo n1; echo n2; }; srun() { printf '%s|' \"$@\"; }; export -f scontrol srun;"
    variables = "SLURM_JOB_NODELIST=n[1-2] SLURM_JOB_ID=7 SLURM_JOB_NUM_NODES=2 SLURM_CPUS_PER_TASK=3"
    for arguments, ends in (("", False), ("/a 'b c' --fps 8", True)):
        command = f"{stand_ins} {variables} bash {shlex.quote(str(SLURM))} {arguments}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == ends
        if ends:
            assert "|--address|n1:20007|--min-nodes|2|--num-cpus|3|" in done.stdout
            assert done.stdout.endswith("|wmkit|annotate|/a|--out|b c|--ray-address|auto|--fps|8|")
        else:
            assert done.stdout == ""


def test_the_training_script_starts_torchrun_on_every_node() -> None:
    """Run with stand-ins for Slurm; torchrun itself reads the flags it is given."""
    stand_ins = "scontrol() { echo n1; echo n2; }; srun() { printf '%s|' \"$@\"; }; export -f scontrol srun;"
    variables = "SLURM_JOB_NODELIST=n[1-2] SLURM_JOB_ID=7 SLURM_JOB_NUM_NODES=2 SLURM_GPUS_PER_NODE=8"
    command = f"{stand_ins} {variables} bash {shlex.quote(str(TRAIN))} tiny-cpu --data '/a b' --out run"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    export, launcher, *words = done.stdout.rstrip("|").split("|")
    assert (export, launcher) == ("--export=ALL", "torchrun")
    assert words[-7:] == ["wmkit", "train", "tiny-cpu", "--data", "/a b", "--out", "run"]
    check_command(words[-7:])
    parsed = get_args_parser().parse_args(words)
    assert (parsed.nnodes, parsed.nproc_per_node, parsed.rdzv_endpoint) == ("2", "8", "n1:20007")
    assert (parsed.module, parsed.training_script) == (True, "wmkit")


def test_training_on_kubernetes_asks_for_the_gpus_there_are() -> None:
    (job,) = yaml.safe_load_all(RAYJOBS[1].read_text())
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[words.index("--launcher") + 1] == "ray"
    (workers,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = workers["template"]["spec"]["containers"]
    gpus = workers["replicas"] * int(container["resources"]["limits"]["nvidia.com/gpu"])
    assert gpus == int(words[words.index("--processes") + 1]) == 64
    assert workers["minReplicas"] == workers["maxReplicas"], "a run's processes do not come and go"
    settings = [word for before, word in pairwise(words) if before == "--set"]
    assert recipe(words[2]).with_settings(settings).data.batch_size >= gpus


@pytest.mark.parametrize("path", RAYJOBS, ids=lambda path: path.stem)
def test_the_rayjob_is_one(path: Path) -> None:
    (job,) = yaml.safe_load_all(path.read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", job["metadata"]["name"])
    spec = job["spec"]
    assert set(spec) == {
        "entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "backoffLimit", "rayClusterSpec",
    }  # fmt: skip
    check_command(shlex.split(spec["entrypoint"]))
    cluster = spec["rayClusterSpec"]
    head, (workers,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert head["rayStartParams"] == {"num-cpus": "0"}, "no clip on the head, beside the driver"
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for group in (head, workers):
        pod = group["template"]["spec"]
        claims = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert container["image"]
            assert container["resources"]["requests"] == container["resources"]["limits"], "Ray counts what it is given"
            assert {mount["name"] for mount in container["volumeMounts"]} == claims
