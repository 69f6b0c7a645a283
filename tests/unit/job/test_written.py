"""A job written into its run directory, and loaded again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.job import dump_job, load_job
from supervisor.policy import resolved_yaml

JOB = "trainer: mine:Trainer\nsteps: 5\n"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "job.yaml") -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")
    return name


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
