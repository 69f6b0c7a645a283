"""What the parent tells the worker arrives as it was."""

from __future__ import annotations

from pathlib import Path

from supervisor.job import load_job
from supervisor.process.spec import WorkerSpec
from supervisor.run_layout import RunLayout

JOB = """\
trainer: mine:Tiny
steps: 20
config: {rate: 1e-4, deep: {list: [1, 2.5, null, true, "x"]}, text: "ü\\n"}
policy:
  cooldown_steps: 3
  ladder:
    - {action: reinitialize, modules: ["*gru*"]}
faults:
  - {kind: nan_batch, at_batch: 3}
"""


def test_a_spec_survives_the_pipe(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB, encoding="utf-8")
    resolved = load_job(str(tmp_path / "job.yaml"), overrides=["config.rate=5e3"], run_dir=str(tmp_path / "run"))
    spec = WorkerSpec.of(resolved, run_id="abc", resume=False)
    again = WorkerSpec.from_line(spec.to_line())
    assert again.job == resolved.job
    assert again.policy == resolved.policy
    assert again.policy.model_dump() == resolved.policy.model_dump()
    assert again.job.config == {"rate": 5e3, "deep": {"list": [1, 2.5, None, True, "x"]}, "text": "ü\n"}
    assert again.faults == [{"kind": "nan_batch", "at_batch": 3}]
    for path in [("config", "deep"), ("faults", 0, "at_batch"), ("config", "rate"), ("steps",)]:
        assert again.origins.place(path) == resolved.origins.place(path)


def test_it_knows_where_the_run_lies(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB, encoding="utf-8")
    resolved = load_job(str(tmp_path / "job.yaml"), run_dir=str(tmp_path / "run"))
    spec = WorkerSpec.of(resolved, run_id="abc", resume=True)
    assert spec.layout == RunLayout(tmp_path / "run")
    assert spec.resume


def test_a_path_that_is_not_utf_8_arrives_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB, encoding="utf-8")
    resolved = load_job(str(tmp_path / "job.yaml"), run_dir=str(tmp_path / "run"))
    spec = WorkerSpec.of(resolved, run_id="abc", resume=False)
    elsewhere = spec.model_copy(update={"run_dir": tmp_path / "d\udcff" / "run"})
    line = elsewhere.to_line()
    assert (line.isascii(), line.count(b"\n")) == (True, 1)
    assert WorkerSpec.from_line(line).run_dir == elsewhere.run_dir
