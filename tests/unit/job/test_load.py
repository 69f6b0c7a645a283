"""What a job file says, every mistake in it with its line, its key and its mend, and the file written from a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.errors import InputError
from supervisor.job import Device, dump_job, load_job
from supervisor.policy import RecoveryPolicy, SpikeDetection, load_policy, resolved_yaml

JOB = "trainer: mine:Trainer\nsteps: 5\n"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "job.yaml") -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")
    return name


def test_a_job_needs_a_trainer_and_steps_alone() -> None:
    resolved = load_job(write(JOB, "sub/mine.yaml"))
    assert resolved.job.trainer == "mine:Trainer"
    assert resolved.job.device is Device.AUTO
    assert resolved.job.config == {}
    assert resolved.policy == RecoveryPolicy()
    assert resolved.run_dir == Path.cwd() / "runs/mine"
    assert resolved.faults is None
    assert resolved.source == "sub/mine.yaml"


def test_the_policy_is_looked_for_beside_the_job_and_the_run_dir_is_not() -> None:
    write("cooldown_steps: 9\n", "configs/policies/mine.yaml")
    text = f"{JOB}policy: ../policies/mine.yaml\nrun_dir: runs/x\nfaults: faults.yaml\nquarantine: q.jsonl\n"
    resolved = load_job(write(text, "configs/jobs/job.yaml"))
    assert resolved.policy.cooldown_steps == 9
    assert resolved.policy_source == "configs/jobs/../policies/mine.yaml"
    assert resolved.run_dir == Path.cwd() / "runs/x"
    assert resolved.faults == Path.cwd() / "configs/jobs/faults.yaml"
    assert resolved.quarantine == Path.cwd() / "configs/jobs/q.jsonl"


def test_an_inline_policy() -> None:
    resolved = load_job(write(f"{JOB}policy: {{cooldown_steps: 3}}\n"))
    assert resolved.policy == RecoveryPolicy(cooldown_steps=3)
    assert resolved.policy_source == "job.yaml"


def test_flags_win() -> None:
    write("cooldown_steps: 9\n", "other.yaml")
    job = write(f"{JOB}policy: nowhere.yaml\nrun_dir: a\n", "sub/job.yaml")
    resolved = load_job(job, policy="other.yaml", run_dir="b", steps=99)
    assert resolved.policy.cooldown_steps == 9
    assert resolved.run_dir == Path.cwd() / "b"
    assert resolved.job.steps == 99


def test_the_trainers_config_is_left_alone() -> None:
    text = f"{JOB}config:\n  rate: 1e-3\n  on: yes\n  1: [a, null]\n  version: 5\n"
    assert load_job(write(text)).job.config == {"rate": 1e-3, "on": "yes", 1: ["a", None], "version": 5}


def test_every_value_can_be_traced_to_its_line() -> None:
    resolved = load_job(write(f"{JOB}config:\n  width: 8\n"), overrides=["config.depth=3"])
    assert resolved.where("config", "width") == "job.yaml:4"
    assert resolved.where("config", "depth") == "--set config.depth=3"
    assert resolved.where("config", "height") == "job.yaml:3"


MISTAKES = {
    "no trainer": ("steps: 5\n", 1, "trainer: is missing", "write `trainer: package.module:TrainerClass`"),
    "no steps": ("\ntrainer: a:B\n", 2, "steps: is missing", "write `steps: 2000`"),
    "trainer without a class": (
        "trainer: mine.Trainer\nsteps: 5\n",
        1,
        'trainer: "mine.Trainer" does not name a class',
        "write `module:Class`",
    ),
    "trainer that is a path": ("trainer: ./a.py:B\nsteps: 5\n", 1, "trainer: ", "write `module:Class`"),
    "trainer that is a number": ("trainer: 5\nsteps: 5\n", 1, "trainer: 5 is not text", "write `trainer: "),
    "unknown key": (f"{JOB}devise: cpu\n", 3, "devise: no such key", "write `device`"),
    "the trainer's key": (
        f"{JOB}learning_rate: 1\n",
        3,
        "learning_rate: no such key",
        "the trainer's own keys belong under `config`",
    ),
    "unknown device": (f"{JOB}device: gpu\n", 3, 'device: "gpu" is not', "write one of: auto, cpu, cuda"),
    "numbered device": (f"{JOB}device: cuda:1\n", 3, 'device: "cuda:1" is not', "write `cuda`"),
    "negative seed": (f"{JOB}seed: -1\n", 3, "seed: -1 is too small", "write `seed: 0` or more"),
    "seed beyond NumPy's": (
        f"{JOB}seed: 4294967296\n",
        3,
        "seed: 4294967296 is too",
        "write `seed: 4294967295`",
    ),
    "no steps at all": ("trainer: a:B\nsteps: 0\n", 2, "steps: 0 is too small", "write `steps: 1` or more"),
    "quoted steps": ('trainer: a:B\nsteps: "5"\n', 2, 'steps: "5" is text', "without quotes"),
    "boolean threads": (
        f"{JOB}cpu_threads: true\n",
        3,
        "cpu_threads: true is not",
        "write a whole number from 0",
    ),
    "empty config": (f"{JOB}config:\n", 3, "config: is empty", "or leave `config` out"),
    "config that is a list": (
        f"{JOB}config: [1]\n",
        3,
        "config: a list is not a mapping",
        "write keys and values",
    ),
    "policy that is a number": (f"{JOB}policy: 5\n", 3, "policy: is neither a file", "write the path"),
    "empty run_dir": (f"{JOB}run_dir: ''\n", 3, "run_dir: is not a path", "write a folder"),
    "faults that are a number": (
        f"{JOB}faults: 5\n",
        3,
        "faults: is neither a file nor a list",
        "write the path",
    ),
    "duplicate key": (f"{JOB}steps: 6\n", 3, "steps: is written twice (first in line 2)", "keep one"),
    "duplicate config key": (f"{JOB}config:\n  a: 1\n  a: 1\n", 5, "config.a: is written twice", "keep one"),
    "object tag": (
        f"{JOB}config:\n  x: !!python/name:os.system\n",
        4,
        "config.x: the tag `!!python/name:os.system` is not allowed",
        "write plain values",
    ),
    "mistake in an inline policy": (
        f"{JOB}policy:\n  cooldown_steps: 3\n  ladder:\n    - {{action: skip_batch, attempts: 0}}\n",
        6,
        "policy.ladder.0.attempts: 0 is too small",
        "write `attempts: 1` or more",
    ),
    "conflict in an inline policy": (
        f"{JOB}policy:\n  ladder: []\n  reactions:\n    loss_spike: lower_lr\n",
        6,
        "policy.reactions.loss_spike: the ladder has no lower_lr rung",
        "write one of: halt",
    ),
    "missing policy file": (
        f"{JOB}policy: nowhere.yaml\n",
        3,
        "policy: sub/nowhere.yaml: no such file",
        "write the path of a policy file",
    ),
    "empty": ("", 1, "is empty", "write at least `trainer: module:Class` and `steps: 1000`"),
    "a list": ("- trainer\n", 1, "a list is not a mapping", "write keys and values, as `trainer: module:Class`"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_mistake_is_named(name: str) -> None:
    text, line, what, mend = MISTAKES[name]
    with pytest.raises(InputError) as caught:
        load_job(write(text, "sub/mine.yaml"))
    (problem,) = caught.value.problems
    assert problem.startswith(f"sub/mine.yaml:{line}: {what}")
    assert mend in problem


def test_mistakes_of_the_job_and_of_its_policy_come_together() -> None:
    write("version: 1\ncooldown_steps: 0\n", "policy.yaml")
    with pytest.raises(InputError) as caught:
        load_job(write("trainer: a:B\nsteps: 0\npolicy: policy.yaml\n"))
    assert [problem.split(": ")[:2] for problem in caught.value.problems] == [
        ["job.yaml:2", "steps"],
        ["policy.yaml:2", "cooldown_steps"],
    ]


def test_a_broken_policy_file_is_named_itself() -> None:
    write("version: 1\n\tx: 1\n", "sub/policy.yaml")
    with pytest.raises(InputError) as caught:
        load_job(write(f"{JOB}policy: policy.yaml\n", "sub/job.yaml"))
    assert str(caught.value).startswith("sub/policy.yaml:2: holds a tab")


def test_flags_are_named_too() -> None:
    with pytest.raises(InputError) as caught:
        load_job(write(JOB), steps=0, run_dir=" ", policy="nowhere.yaml")
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [
        "--run-dir  ",
        "--steps 0",
        "nowhere.yaml",
    ]


def test_a_missing_job_suggests_its_neighbour() -> None:
    write(JOB, "jobs/train.yaml")
    with pytest.raises(InputError) as caught:
        load_job("jobs/trian.yaml")
    assert str(caught.value) == "jobs/trian.yaml: no such file: write jobs/train.yaml"


def test_shipped_jobs_load() -> None:
    configs = Path(__file__).parents[3] / "configs"
    main = load_job(str(configs / "jobs/energy_flow.yaml"))
    assert main.job.trainer == "energy_flow.energy_trainer:EnergyTrainer"
    assert main.job.config == {"lattice_width": 8, "lattice_height": 8, "lattice_depth": 8, "embedding_part_dim": 8}
    assert main.job.seed == 7
    assert main.job.run_dir == "runs/energy_flow"
    assert main.policy == load_policy(configs / "policies/default.yaml")
    assert load_job(str(configs / "jobs/energy_flow_debug.yaml")).job.config == {"preset": "debug"}
    largest = load_job(str(configs / "jobs/energy_flow_experiment.yaml"))
    assert largest.job.config["preset"] == "experiment"
    assert largest.policy.restart.startup_timeout_seconds == 1800
    assert largest.policy.ladder == main.policy.ladder


REPLACED: dict[str, tuple[str, dict[str, Any], str]] = {
    "run_dir, by --run-dir": ("run_dir: [a]\n", {"run_dir": "b"}, "run_dir: a list is not text"),
    "run_dir, by --set": ("run_dir: [a]\n", {"overrides": ["run_dir=b"]}, "run_dir: a list is not text"),
    "steps, by --steps": ("steps: many\n", {"steps": 7}, 'steps: "many" is text'),
    "steps, by --set": ("steps: 0\n", {"overrides": ["steps=7"]}, "steps: 0 is too small"),
    "policy, by --policy": ("policy: 5\n", {"policy": "good.yaml"}, "policy: is neither a file nor a mapping"),
    "policy, by --set": ("policy: []\n", {"overrides": ["policy=good.yaml"]}, "policy: is neither a file"),
    "a key of a policy that --policy replaces": (
        "policy: {cooldown_steps: 0}\n",
        {"policy": "good.yaml"},
        "policy.cooldown_steps: 0 is too small",
    ),
    "a contradiction in a policy that --policy replaces": (
        "policy: {detect: {spike: {warmup_updates: 200}}}\n",
        {"policy": "good.yaml"},
        "policy.detect.spike.warmup_updates: a warm-up of 200 never ends",
    ),
    "a key of a policy, by --set": (
        "policy: {cooldown_steps: 0}\n",
        {"overrides": ["policy.cooldown_steps=3"]},
        "policy.cooldown_steps: 0 is too small",
    ),
    "an empty section that --set fills": ("config:\n", {"overrides": ["config.width=8"]}, "config: is empty"),
    "faults, by --set": ("faults: 5\n", {"overrides": ["faults=f.yaml"]}, "faults: is neither a file nor a list"),
    "a fault in a list that --set replaces": (
        "faults: [{kind: nan_wait}]\n",
        {"overrides": ["faults=null"]},
        'faults.0.kind: "nan_wait" is not a kind',
    ),
    "a fault without a time in a list that --set replaces": (
        "faults: [{kind: nan_batch}]\n",
        {"overrides": ["faults=null"]},
        "faults.0.at_batch: is missing",
    ),
    "a key that there is not, in a section that --set replaces": (
        "policy: {snapshots: {}}\n",
        {"overrides": ["policy={}"]},
        "policy.snapshots: no such key",
    ),
} | {
    f"{key}, by --set": (f"{key}: {wrong}\n", {"overrides": [f"{key}={right}"]}, f"{key}: ")
    for key, wrong, right in [
        ("version", "2", "1"),
        ("trainer", "mine", "mine:Trainer"),
        ("config", "5", "{}"),
        ("seed", "-1", "1"),
        ("device", "gpu", "cpu"),
        ("log_every_steps", "0", "1"),
        ("observations", "yes", "true"),
        ("cpu_threads", "true", "1"),
        ("quarantine", "''", "null"),
    ]
}


@pytest.mark.parametrize("name", REPLACED)
def test_a_flag_does_not_hide_that_the_written_value_is_wrong(name: str) -> None:
    text, flags, what = REPLACED[name]
    write("cooldown_steps: 9\n", "good.yaml")
    rest = "".join(line for line in JOB.splitlines(keepends=True) if line.split(":")[0] != text.split(":")[0])
    with pytest.raises(InputError) as caught:
        load_job(write(rest + text), **flags)
    (problem,) = caught.value.problems
    assert problem.startswith(f"job.yaml:{len(rest.splitlines()) + 1}: {what}")


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ({"overrides": ["steps=0", "steps=7"]}, "--set steps=0: 0 is too small"),
        ({"overrides": ["steps=many"], "steps": 7}, '--set steps=many: "many" is text'),
        ({"overrides": ["run_dir=[a]"], "run_dir": "b"}, "--set run_dir=[a]: a list is not text"),
        ({"overrides": ["policy=5"], "policy": "good.yaml"}, "--set policy=5: is neither a file nor a mapping"),
        ({"overrides": ["policy.cooldown_steps=0", "policy.cooldown_steps=1"]}, "--set policy.cooldown_steps=0: 0 is"),
        ({"overrides": ["policy.ladder=[{}]", "policy.ladder=[]"]}, "--set policy.ladder=[{}]: policy.ladder.0: has"),
        ({"overrides": ["stepz=5", "stepz=null"]}, "--set stepz=5: no such key"),
    ],
    ids=str,
)
def test_a_flag_does_not_hide_that_an_earlier_flag_is_wrong(flags: dict[str, Any], problem: str) -> None:
    write("cooldown_steps: 9\n", "good.yaml")
    with pytest.raises(InputError) as caught:
        load_job(write(JOB), **flags)
    assert caught.value.problems[0].startswith(problem)


def test_flags_together_may_say_what_each_alone_could_not() -> None:
    job = write("trainer: mine:Trainer\nfaults: [{kind: nan_batch}]\n")
    overrides = [
        "policy.detect.spike.window_updates=4",
        "policy.detect.spike.warmup_updates=4",
        "policy.ladder=[]",
        "policy.reactions.loss_spike=lower_lr",
        "policy.ladder=[{action: lower_lr}]",
        "faults.0.at_batch=5",
    ]
    resolved = load_job(job, overrides=overrides, steps=7)
    assert resolved.job.steps == 7
    assert resolved.policy.detect.spike == SpikeDetection(window_updates=4, warmup_updates=4)
    assert resolved.faults == [{"kind": "nan_batch", "at_batch": 5}]


def test_a_policy_file_that_nothing_reads_is_not_looked_into() -> None:
    write("cooldown_steps: 0\n", "wrong.yaml")
    write("cooldown_steps: 9\n", "good.yaml")
    assert load_job(write(f"{JOB}policy: wrong.yaml\n"), policy="good.yaml").policy.cooldown_steps == 9


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(
    config=st.dictionaries(st.text(), plain, max_size=4),
    steps=st.integers(1, 10**9),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_written_job_loads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, config: dict[str, object], steps: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    text = f"trainer: mine:Trainer\nsteps: {steps}\nseed: {seed}\npolicy: {{cooldown_steps: 3}}\n"
    text += "faults: f.yaml\nquarantine: q.jsonl\n"
    first = load_job(write(text, str(folder / "first.yaml")))
    first = type(first)(**{**vars(first), "job": first.job.model_copy(update={"config": config})})
    (folder / "policy.yaml").write_text(resolved_yaml(first.policy))
    again = load_job(str(dump_job(first, folder)))
    assert again.job.config == config
    assert (again.policy, again.run_dir, again.faults) == (first.policy, first.run_dir, first.faults)
    assert again.quarantine == first.quarantine
    ours, theirs = first.job.model_dump(), again.job.model_dump()
    differing = {key for key in ours if ours[key] != theirs[key]}
    assert differing <= {"policy", "run_dir", "faults", "quarantine"}
    assert [path.name for path in folder.glob(".*")] == []


def test_a_written_job_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    write("cooldown_steps: 9\n", "jobs/mine.yaml")
    first = load_job(
        write(f"{JOB}policy: mine.yaml\nfaults: faults.yaml\n", "jobs/job.yaml"),
        overrides=["policy.probation_steps=4"],
        run_dir="runs/a",
    )
    first.run_dir.mkdir(parents=True)
    written = dump_job(first, first.run_dir)
    (first.run_dir / "policy.yaml").write_text(resolved_yaml(first.policy))
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    again = load_job(str(written))
    assert again.job.policy == "policy.yaml"
    assert (again.policy.cooldown_steps, again.policy.probation_steps) == (9, 4)
    assert again.run_dir == first.run_dir
    assert again.faults == first.faults


def test_a_job_that_cannot_be_written_leaves_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = load_job(write(JOB))

    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        dump_job(resolved, Path.cwd())
    assert Path("job.yaml").read_text() == JOB
    assert [path.name for path in Path().iterdir()] == ["job.yaml"]
