"""What a page names exists; and each kind of thing that does not is found."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "check_docs.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    before = list(sys.path)
    try:
        return runpy.run_path(str(SCRIPT), run_name="check_docs")
    finally:
        sys.path[:] = before


@pytest.fixture
def wrong(script: dict[str, Any]) -> Callable[[str], list[str]]:
    """What is found in a page of this text."""
    return lambda text: [*script["wrong_in"](script["Page"]("page.md", text))]


def block(language: str, text: str, comment: str = "") -> str:
    above = f"<!-- {comment} -->\n" if comment else ""
    return f"Some text.\n\n{above}```{language}\n{text}\n```\n"


def test_nothing_is_wrong_in_any_page(script: dict[str, Any]) -> None:
    """Where this fails: python scripts/check_docs.py"""
    for path in script["pages"]():
        name = str(path.relative_to(ROOT))
        assert [*script["wrong_in"](script["Page"](name, path.read_text(encoding="utf-8")))] == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("supervisor start job.yaml", "supervisor start: there is no such command"),
        ("supervisor policy cheque p.yaml", "supervisor policy cheque: there is no such command"),
        ("supervisor run job.yaml --stpes 5", "--stpes"),
        ("supervisor run", "job: is missing"),
        ("supervisor export runs/mine", "output: is missing"),
        ("supervisor status a b", "b: one argument too many"),
        ("supervisor run job.yaml --steps many", "many"),
        ("supervisor events runs/mine --event singal", "there is no event of this name"),
        ("supervisor run job.yaml --set policy.cooldown=5", "policy.cooldown: a policy has no such key"),
        ("supervisor run job.yaml --set polcy=x.yaml", "a job has no key polcy"),
        ("cd there && nohup supervisor runn job.yaml > log 2>&1 &", "supervisor runn: there is no such command"),
        ("supervisor run job.yaml | tail -n 3; supervisor stat x", "supervisor stat: there is no such command"),
        ("python -m supervisor runn job.yaml", "supervisor runn: there is no such command"),
        ("python benchmarks/gone.py", "benchmarks/gone.py: there is no such file"),
        ("python scripts/run_examples.py --fast", "--fast: there is no such option"),
        ("make everything", "make everything: there is no such target"),
        ("pip install .[dcos]", "there is no extra dcos"),
        ("cat configs/jobs/gone.yaml", "configs/jobs/gone.yaml: there is no such file"),
        ("cat runs/mine/gone.json", "runs/mine/gone.json: no run writes such a file"),
    ],
)
def test_a_command_that_does_not_exist_is_found(line: str, said: str, wrong: Callable[[str], list[str]]) -> None:
    found = wrong(block("", f"supervisor runs\n{line}"))
    assert len(found) == 1
    assert found[0].startswith("page.md:5: ")
    assert said in found[0]


@pytest.mark.parametrize(
    "line",
    [
        "supervisor run job.yaml [--set config.width=128] [--policy other.yaml] [--run-dir DIR] [--steps N] [--resume]",
        "supervisor explain runs/mine [1]      what went wrong (--json)",
        "supervisor evaluate RUN_DIR [--checkpoint best|good|last|PATH] [--json]",
        "$ supervisor events runs/mine --event decision | head -n 3",
        "supervisor preflight JOB.yaml             # a minute, at most",
        "supervisor run job.yaml --auto-resume & child=$!",
        "*/10 * * * * cd /home/me && supervisor run job.yaml --auto-resume >> run.log 2>&1",
        "supervisor run job.yaml --set 'policy.experiments={}' \\\n    --set policy.ladder.0.attempts=5",
        "python benchmarks/rescue.py --write docs/rescue.md",
        "make run RUN_DIR=runs/mine",
        "pip install --constraint constraints.txt .[docs]",
        "cat runs/mine/incidents/0001/incident.json",
        "supervisor: step 11  nonfinite_loss  bad data: row 176 (left out)  → skipped",
    ],
)
def test_one_that_exists_is_not(line: str, wrong: Callable[[str], list[str]]) -> None:
    assert wrong(block("bash", line)) == []


def test_the_command_of_an_output_is_looked_at_and_not_what_it_printed(wrong: Callable[[str], list[str]]) -> None:
    assert wrong(block("", "supervisor starts as ever", "output: supervisor runs")) == []
    (said,) = wrong(block("", "text", "output exit 2: supervisor starts"))
    assert "supervisor starts: there is no such command" in said
    assert wrong(block("", "supervisor says no", "printed")) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trainer: mine:Trainer\nsteps: many", "page.md:5: steps: "),
        ("trainer: mine:Trainer\nsteps: 5\npolicy: {cooldown: 5}", "page.md:6: policy.cooldown: no such key"),
        ("trainer: mine:Trainer\nsteps: 5\nfaults:\n  - {kind: nan_bath, at_batch: 1}", "nan_bath"),
        ("evaluate_every_step: 5\nkeep_best: {metric: mrr, mode: max}", "evaluate_every_step: no such key"),
        ("cooldown_steps: 20\nladder:\n  - {action: skip_batch, attempts: 0}", "page.md:6: ladder.0.attempts: "),
        ("- {action: skip_batches}", "skip_batches"),
        ("- {kind: nan_weight, at_batch: -1}", "at_batch"),
        ("faults:\n  - {kind: nan_weight, at_batch: -1}", "at_batch"),
        ("scrape_configs: []", "is no part of a job, a policy or faults"),
        ("a: [", "is no YAML"),
        ("apiVersion: v1\nkind: Pod\nspec: {command: [supervisor, runn, job.yaml]}", "supervisor runn"),
    ],
)
def test_yaml_that_would_be_refused_is_found(text: str, said: str, wrong: Callable[[str], list[str]]) -> None:
    (found,) = wrong(block("yaml", text))
    assert found.startswith("page.md:")
    assert said in found


@pytest.mark.parametrize(
    ("text", "comment"),
    [
        ("trainer: mine:Trainer\nsteps: 5\npolicy: {cooldown_steps: 5}", ""),
        ("evaluate_every_steps: 100", ""),
        ("quarantine: job-quarantine.jsonl", ""),
        ("ladder:\n  - {action: skip_batch}\nreactions: {loss_spike: observe}", ""),
        ("- {action: try_cures, cures: [{lr: 0.1}]}", ""),
        ("version: 1\nfaults:\n  - {kind: kill_worker, at_batch: 5}", ""),
        ("scrape_configs: []", "yaml of another program"),
        ("apiVersion: v1\nkind: Pod\nspec: {command: [supervisor, run, job.yaml]}", ""),
        ("cooldown_step: 20", "file exit 2: bad.yaml"),
    ],
)
def test_yaml_that_would_not_is_not(text: str, comment: str, wrong: Callable[[str], list[str]]) -> None:
    assert wrong(block("yaml", text, comment)) == []


def test_yaml_that_is_there_to_be_refused_and_would_not_be_is_found(wrong: Callable[[str], list[str]]) -> None:
    (said,) = wrong(block("yaml", "cooldown_steps: 20", "file exit 2: bad.yaml"))
    assert "has no mistake" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("guard = Guard(", "page.md:4: does not compile"),
        ("import torch\nfrom supervisor import Gard", "page.md:5: from supervisor import Gard: there is none"),
        ("from supervisor.gone import Guard", "supervisor.gone: cannot be imported"),
        ("import energy_flow.gone", "energy_flow.gone: cannot be imported"),
        ("guard = Guard(model=model, optimiser=optimizer)", "Guard(optimiser=...): there is no such argument"),
        ("guard.stop()", "guard.stop: a Guard has none"),
    ],
)
def test_python_that_cannot_be_is_found(text: str, said: str, wrong: Callable[[str], list[str]]) -> None:
    (found,) = wrong(block("python", text))
    assert said in found


def test_python_that_can_be_is_not(wrong: Callable[[str], list[str]]) -> None:
    text = "from elsewhere import anything\nfrom supervisor import Guard\nguard = Guard(model=m, run_dir=None)\n"
    assert wrong(block("python", text + "guard.run(steps=5)\nprint(guard.status)")) == []


def test_json_that_is_none_is_found(wrong: Callable[[str], list[str]]) -> None:
    assert wrong(block("json", '{"event": "step",\n "step": 20}')) == []
    assert wrong(block("jsonl", '{"index": 3}\n{"index": 4}')) == []
    (said,) = wrong(block("json", '{"event": "step",}'))
    assert said.startswith("page.md:4: is no JSON")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("supervisor strat", "supervisor strat: there is no such command"),
        ("supervisor run JOB.yaml --auto-resum", "--auto-resum"),
        ("--atuo-resume", "no command has such a flag"),
        ("restart.max_restart", "a policy has no such key"),
        ("experiments.bad_data.shares", "a policy has no such key"),
        ("experiments: {bad_data: {shares: 0.5}}", "experiments.bad_data.shares: no such key"),
        ("tests/unit/gone.py", "there is no such file"),
        ("RUN_DIR/gone.jsonl", "no run writes such a file"),
        ("make docss", "there is no such target"),
        ("Guard(..., resum=True)", "there is no such argument"),
        ("guard.stop()", "a Guard has none"),
    ],
)
def test_code_in_a_sentence_that_names_nothing_is_found(
    code: str, said: str, wrong: Callable[[str], list[str]]
) -> None:
    (found,) = wrong(f"A line.\n\nAs `{code}` says.\n")
    assert found.startswith("page.md:3: ")
    assert said in found


@pytest.mark.parametrize(
    "code",
    [
        "supervisor run",
        "supervisor run JOB.yaml --resume --policy P.yaml",
        "--auto-resume",
        "--slow",
        "restart.max_restarts",
        "experiments.bad_data.share",
        "detect: {spike: {threshold: …}}",
        "reactions: {loss_spike: observe, gradient_spike: observe}",
        "tests/unit/guard/",
        "RUN_DIR/quarantine.jsonl",
        "RUN_DIR/incidents/0001/NAME.json",
        "checkpoint.md",
        "Guard(..., resume=True, quarantine=...)",
        "guard.request_stop()",
        "loss: a number",
    ],
)
def test_code_in_a_sentence_that_names_something_is_not(code: str, wrong: Callable[[str], list[str]]) -> None:
    assert wrong(f"As `{code}` says.\n") == []


def test_a_span_over_two_lines_is_one(wrong: Callable[[str], list[str]]) -> None:
    (said,) = wrong("As in `supervisor\nstrat job.yaml`.\n")
    assert "supervisor strat" in said


def test_a_file_of_the_page_is_there(wrong: Callable[[str], list[str]]) -> None:
    text = block("python", "print()", "file: mine.py")
    assert wrong(text + block("", "python mine.py")) == []
    assert len(wrong(block("", "python mine.py"))) == 1


def test_all_of_it_is_said(script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(block("", "supervisor strat\nmake nothing"))
    assert script["main"]([str(page)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "page.md:4: supervisor strat: there is no such command",
        "page.md:5: make nothing: there is no such target",
    ]
    page.write_text("Nothing.\n")
    assert script["main"]([str(page)]) == 0
