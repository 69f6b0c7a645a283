"""Malformed policies, jobs and flags through the real command line: exit 2, a line with place, key and mend."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from support.command import ask, strict_json, supervise, write_trainer

from supervisor import InputError, load_policy
from supervisor.job import load_job
from supervisor.process.heartbeat import Heartbeat
from supervisor.process.spec import WorkerSpec
from supervisor.process.worker import run_job

JOB = "trainer: mine:Tiny\nsteps: 20\nrun_dir: out\n"

POLICIES = {
    "unknown_key": ("cooldown: 5\n", r"p\.yaml:1: cooldown: no such key: .*cooldown_steps"),
    "wrong_type": ("cooldown_steps: many\n", r"p\.yaml:1: cooldown_steps: .*: write"),
    "a_boolean": ("cooldown_steps: true\n", r"p\.yaml:1: cooldown_steps: .*: write"),
    "a_quoted_number": ('cooldown_steps: "5"\n', r"p\.yaml:1: cooldown_steps: .*: write"),
    "too_small": ("version: 1\ncooldown_steps: 0\n", r"p\.yaml:2: cooldown_steps: .*write `cooldown_steps: 1` or more"),
    "too_large": ("probation_steps: 99999999999\n", r"p\.yaml:1: probation_steps: .*: write"),
    "not_a_number": ("gradient_clip: {max_norm: .nan}\n", r"p\.yaml:1: gradient_clip\.max_norm: .*: write"),
    "unknown_action": ("ladder:\n  - {action: skip}\n", r'p\.yaml:2: ladder\.0\.action: "skip" .*skip_batch'),
    "no_action": ("ladder:\n  - {attempts: 3}\n", r"p\.yaml:2: ladder\.0: has no action: write `action:`"),
    "early_halt": (
        "ladder:\n  - {action: halt}\n  - {action: skip_batch}\n",
        r"p\.yaml:2: ladder\.0.*: write `halt` as the last rung",
    ),
    "factor": ("ladder:\n  - {action: lower_lr, factor: 2}\n", r"p\.yaml:2: ladder\.0\.factor: .*: write"),
    "limit_null": (
        "ladder:\n  - {action: reload_checkpoint, limit: null}\n",
        r"p\.yaml:2: ladder\.0\.limit: .*: write",
    ),
    "reaction_to_no_rung": (
        "ladder: [{action: skip_batch}]\nreactions: {nonfinite_loss: lower_lr}\n",
        r"p\.yaml:2: reactions\.nonfinite_loss: .*: write",
    ),
    "observed_nan": ("reactions: {nonfinite_loss: observe}\n", r"p\.yaml:1: reactions\.nonfinite_loss: .*: write"),
    "unknown_signal": ("reactions: {nan: halt}\n", r"p\.yaml:1: reactions\.nan: .*: "),
    "duplicate": ("cooldown_steps: 3\ncooldown_steps: 4\n", r"p\.yaml:2: cooldown_steps: .*: "),
    "warmup": ("detect: {spike: {warmup_updates: 200}}\n", r"p\.yaml:1: detect\.spike\.warmup_updates: .*: write"),
    "a_list": ("- 1\n", r"p\.yaml:1: .*not a mapping: write"),
    "a_tab": ("ladder:\n\t- {action: halt}\n", r"p\.yaml:2: .*: "),
    "unclosed": ("ladder: [{action: halt}\n", r"p\.yaml:[12]: .*: "),
    "python_object": (
        "cooldown_steps: !!python/object/apply:os.system ['touch pwned']\n",
        r"p\.yaml:1: .*python/object.*: ",
    ),
    "python_name": ("ladder: !!python/name:os.system\n", r"p\.yaml:1: .*python/name.*: "),
    "version": ("version: 2\n", r"p\.yaml:1: version: .*: write"),
}

THROUGH_RUN = {"unknown_key", "duplicate", "python_object"}

JOBS = {
    "empty": ("", r"j\.yaml:1: is empty: write at least"),
    "no_trainer": ("steps: 5\n", r"j\.yaml:1: trainer: .*: write"),
    "no_steps": ("trainer: mine:Tiny\n", r"j\.yaml:1: steps: .*: write"),
    "no_class": ("trainer: mine\nsteps: 5\n", r"j\.yaml:1: trainer: .*: write `module:Class`"),
    "text": ("trainer: mine:Tiny\nsteps: ten\n", r"j\.yaml:2: steps: .*: write"),
    "unknown_key": (JOB + "learning_rate: 1\n", r"j\.yaml:4: learning_rate: no such key: "),
    "seed": (JOB + "seed: -1\n", r"j\.yaml:4: seed: .*: write"),
    "device": (JOB + "device: gpu\n", r"j\.yaml:4: device: .*: write"),
    "policy_file": (JOB + "policy: nothere.yaml\n", r"j\.yaml:4: policy: .*nothere\.yaml: no such file: write"),
    "inline_policy": (JOB + "policy:\n  cooldown: 5\n", r"j\.yaml:5: policy\.cooldown: no such key: "),
    "python_object": (JOB + "config: !!python/object/new:os.system [ls]\n", r"j\.yaml:4: .*python/object.*: "),
    "faults": (JOB + "faults: [{kind: nan_wait}]\n", r"j\.yaml:4: faults\.0\.kind: .*: write `nan_weight`"),
    "run_dir": ("trainer: mine:Tiny\nsteps: 20\nrun_dir: ''\n", r"j\.yaml:3: run_dir: .*: write"),
    "all_at_once": ("trainer: x\nsteps: 0\nseed: x\n", r"(?s)j\.yaml:1: trainer.*j\.yaml:2: steps.*j\.yaml:3: seed"),
}

WORKER = {
    "no_module": ("trainer: nothere:Tiny", r"j\.yaml:1: trainer: there is no module nothere: write"),
    "no_class": ("trainer: mine:Tinny", r"j\.yaml:1: trainer: mine has no Tinny: write .*Tiny"),
    "syntax_error": ("trainer: broken:Tiny", r"j\.yaml:1: trainer: broken cannot be imported .*broken\.py:2.*: mend"),
    "config": ("config: {width: wide}", r"j\.yaml:1: config\.width: .*: write"),
    "config_key": ("config: {widht: 3}", r"j\.yaml:1: config\.widht: no such key: .*width"),
    "cuda": ("device: cuda", r"j\.yaml:1: device: cuda: .*no CUDA device: write `device: auto`"),
    "fault_parameter": (
        'faults:\n  - {kind: hang, at_batch: 9}\n  - {kind: nan_weight, at_batch: 1,\n     parameter: "3.weight"}',
        r"j\.yaml:4: faults\.1\.parameter: '3\.weight' matches no parameter: write one of: .*0\.weight",
    ),
    "glob": (
        "policy: {ladder: [{action: reinitialize, modules: [linnear]}]}",
        r"j\.yaml:1: policy\.ladder\.0\.modules: 'linnear' matches no module: write one of: .*Linear",
    ),
}

THROUGH_A_WORKER = {"no_module", "config", "glob"}
"""The others are asked of what the worker runs, without the seconds that the start of one takes."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the trainer `mine:Tiny`."""
    write_trainer(tmp_path)
    return tmp_path


def assert_refused(done: object, pattern: str, folder: Path) -> None:
    assert done.returncode == 2, done.stderr  # type: ignore[attr-defined]
    assert "Traceback" not in done.stderr  # type: ignore[attr-defined]
    assert done.stdout == ""  # type: ignore[attr-defined]
    assert re.search(pattern, done.stderr), done.stderr  # type: ignore[attr-defined]
    assert not (folder / "out").exists()
    assert not (folder / "pwned").exists()


@pytest.mark.parametrize("case", POLICIES)
def test_a_malformed_policy(case: str, folder: Path) -> None:
    text, pattern = POLICIES[case]
    (folder / "p.yaml").write_text(text, encoding="utf-8")
    (folder / "j.yaml").write_text(JOB + "policy: p.yaml\n", encoding="utf-8")
    command = ["run", "j.yaml"] if case in THROUGH_RUN else ["policy", "check", "p.yaml"]
    start = supervise if case in THROUGH_RUN else ask
    assert_refused(start(*command, cwd=folder), pattern, folder)


@pytest.mark.parametrize("case", JOBS)
def test_a_malformed_job(case: str, folder: Path) -> None:
    text, pattern = JOBS[case]
    (folder / "j.yaml").write_text(text, encoding="utf-8")
    assert_refused(ask("run", "j.yaml", cwd=folder), pattern, folder)


@pytest.mark.parametrize("case", WORKER)
def test_what_only_the_worker_can_find(case: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves nothing behind, so that the mended job can start in the same run directory."""
    line, pattern = WORKER[case]
    (folder / "broken.py").write_text("x = 1\ndef f(:\n", encoding="utf-8")
    key = line.partition(":")[0]
    rest = "".join(each for each in JOB.splitlines(keepends=True) if not each.startswith(f"{key}:"))
    (folder / "j.yaml").write_text(f"{line}\n{rest}", encoding="utf-8")
    if case in THROUGH_A_WORKER:
        done = supervise("run", "j.yaml", "--set", "run_dir=out/a/b", cwd=folder)
        assert_refused(done, pattern, folder)
        return
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    for name in ("mine", "broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    spec = WorkerSpec.of(load_job("j.yaml"), run_id="r", resume=False)
    stop: Any = SimpleNamespace(goes_to=lambda guard: None, stay=lambda: None)
    with pytest.raises(InputError, match=pattern):
        run_job(spec, stop, Heartbeat(folder / "heartbeat", create=True))
    # As a worker's own, they are gone with it.
    for name in ("mine", "broken"):
        sys.modules.pop(name, None)


SHARDED = """
import torch.distributed as distributed
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from mine import Tiny

class Sharded(Tiny):
    @classmethod
    def from_config(cls, config, *, seed):
        trainer = super().from_config({}, seed=seed)
        distributed.init_process_group("gloo", init_method="file://" + config["meet"], rank=0, world_size=1)
        mesh = init_device_mesh("cpu", (1,))
        layer = next(each for each in trainer.model.modules() if isinstance(each, nn.Linear))
        layer.weight = nn.Parameter(distribute_tensor(layer.weight.detach(), mesh, [Shard(0)]))
        return trainer
"""


def test_a_worker_that_holds_one_part_of_a_sharded_model(folder: Path) -> None:
    (folder / "sharded.py").write_text(SHARDED, encoding="utf-8")
    job = JOB.replace("mine:Tiny", "sharded:Sharded") + f"config: {{meet: {folder / 'meet'}}}\n"
    (folder / "j.yaml").write_text(job, encoding="utf-8")
    done = supervise("run", "j.yaml", cwd=folder)
    assert_refused(done, r"^model: \S+ is a DTensor .*: give the whole model, without fully_shard", folder)


def test_a_refused_job_leaves_an_empty_run_directory_empty(folder: Path) -> None:
    (folder / "j.yaml").write_text(JOB + "config: {width: wide}\n", encoding="utf-8")
    (folder / "out").mkdir()
    assert supervise("run", "j.yaml", cwd=folder).returncode == 2
    assert list((folder / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("run_dir", "pattern"),
    [
        ("full", r"full: holds something already \(x\): add --resume to go on with it, or write another --run-dir"),
        ("file", r"file: is a file.*: choose another run directory"),
        ("file/below", r"file/below: is a file, or lies in one: choose another run directory"),
        ("/proc/nothing", r"/proc/nothing: cannot be made \(.*\): choose another run directory"),
        ("x" * 300, r"x: cannot be read \(File name too long\): choose another run directory"),
        ("dangling", r"dangling: cannot be .*: choose another run directory"),
    ],
    ids=lambda value: value[:12],
)
def test_a_run_directory_that_cannot_be_used(run_dir: str, pattern: str, folder: Path) -> None:
    (folder / "j.yaml").write_text(JOB, encoding="utf-8")
    (folder / "full").mkdir()
    (folder / "full" / "x").write_text("mine", encoding="utf-8")
    (folder / "file").write_text("mine", encoding="utf-8")
    (folder / "dangling").symlink_to("nowhere")
    done = ask("run", "j.yaml", "--run-dir", run_dir, cwd=folder)
    assert_refused(done, pattern, folder)
    assert (folder / "full" / "x").read_text(encoding="utf-8") == "mine"
    assert (folder / "file").read_text(encoding="utf-8") == "mine"
    assert sorted(path.name for path in (folder / "full").iterdir()) == ["x"]


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (["run", "nothere.yaml"], r"nothere\.yaml: no such file: write the path of a job file"),
        (["run", "."], r"\.: is a folder: write the path of a job file"),
        (["run"], "Missing argument"),
        (["run", "j.yaml", "--polcy", "x"], "No such option.*--policy"),
        (["run", "j.yaml", "--steps", "0"], r"--steps 0: .*write `steps: 1` or more"),
        (["run", "j.yaml", "--set", "steps"], r"--set steps: has no `=`: write"),
        (["run", "j.yaml", "--set", "polic=1"], r"--set polic=1: no such key: .*policy"),
        (
            ["run", "j.yaml", "--set", "policy.cooldown=1"],
            r"policy\.cooldown: no such key|no such key: .*cooldown_steps",
        ),
        (["run", "j.yaml", "--policy", "nothere.yaml"], r"nothere\.yaml: no such file: write the path of a policy"),
        (["status", "nothere"], "nothere: no such run directory: name"),
        (["events", "."], r"\.: not a run directory, it has no events/: name"),
        (["policy", "check", "nothere.yaml"], r"nothere\.yaml: no such file: write the path of a policy"),
        (["fly"], "No such command"),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, list) else "",
)
def test_flags_and_names(arguments: list[str], pattern: str, folder: Path) -> None:
    (folder / "j.yaml").write_text(JOB, encoding="utf-8")
    start = supervise if arguments == ["fly"] else ask
    assert_refused(start(*arguments, cwd=folder), pattern, folder)


def test_policy_check_schema_and_show(folder: Path) -> None:
    (folder / "p.yaml").write_text("cooldown_steps: 7\ngradient_clip: {max_norm: 1e-1}\n", encoding="utf-8")
    good = ask("policy", "check", "p.yaml", cwd=folder)
    assert (good.returncode, good.stderr) == (0, "")
    assert "skip_batch -> lower_lr -> reload_checkpoint -> try_cures -> reinitialize -> halt" in good.stdout
    schema = ask("policy", "schema", cwd=folder)
    assert schema.returncode == 0
    assert "cooldown_steps" in strict_json(schema.stdout)["properties"]
    shown = supervise("policy", "show", "p.yaml", cwd=folder)
    assert shown.returncode == 0
    values = yaml.safe_load(shown.stdout)
    assert values["cooldown_steps"] == 7
    assert values["gradient_clip"]["max_norm"] == 0.1
    (folder / "again.yaml").write_text(shown.stdout, encoding="utf-8")
    assert load_policy(folder / "again.yaml") == load_policy(folder / "p.yaml")
    assert ask("policy", "show", cwd=folder).returncode == 0
