"""The tables that stand on the pages of signals and actions, from the records, the policy and the faults.

scripts/make_reference.py puts them between `<!-- facts: begin -->` and `<!-- facts: end -->` of each page.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter
from reference_text import attributes_of, bound, classes_in, flow, member_docs, prose, table

from supervisor.faults.model import Expected, FaultScript
from supervisor.policy import RecoveryPolicy
from supervisor.policy.ladder import AnyRung
from supervisor.policy.reactions import OBSERVABLE_SIGNALS, SETUP_SIGNALS, Reaction
from supervisor.records import ActionName, CauseKind, SignalName

__all__ = ["BEGIN", "END", "facts", "with_facts"]

BEGIN, END = "<!-- facts: begin -->", "<!-- facts: end -->"


def facts() -> dict[str, str]:
    """The tables of each page, by its path in docs/."""
    found = {"signals/README.md": "\n".join(_all_signals()), "actions/README.md": "\n".join(_all_actions())}
    found |= {f"signals/{signal}.md": "\n".join(_of_signal(signal)) for signal in SignalName}
    found |= {f"actions/{action}.md": "\n".join(_of_action(action)) for action in ActionName}
    return found


def with_facts(text: str, block: str) -> str:
    """A page with its tables.

    Raises:
        ValueError: it has no place for them.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"lacks the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{block.rstrip()}\n{END}{after}"


def _all_signals() -> Iterator[str]:
    docs = member_docs(SignalName)
    rows = [(f"[`{each}`]({each}.md)", docs[each.name], _answer(each)) for each in SignalName]
    yield table(("signal", "what was found", "what follows by default"), rows)


def _all_actions() -> Iterator[str]:
    docs = member_docs(ActionName)
    rows = []
    for number, rung in enumerate(RecoveryPolicy().ladder):
        attempts = str(getattr(rung, "attempts", "")) or "-"
        rows.append((f"[`{rung.action}`]({rung.action}.md)", str(number), attempts, docs[rung.action.name]))
    yield table(("action", "rung of the default ladder", "attempts in an incident", "what it does"), rows)


def _of_signal(signal: SignalName) -> Iterator[str]:
    rows = [
        ("what was found", member_docs(SignalName)[signal.name]),
        ("what follows by default", _answer(signal, "../")),
    ]
    if signal.value in type(RecoveryPolicy().reactions).model_fields:
        may = "may" if signal in OBSERVABLE_SIGNALS else "may not"
        text = f"`reactions: {{{signal}: …}}`, the action of a rung; it {may} be `observe` (logged only)"
        rows.append(("to change that", text))
    place = list(SignalName).index(signal) + 1
    rows.append(
        ("among several findings", f"named as number {place} of {len(SignalName)}, the furthest upstream first")
    )
    kinds = [f"`{kind}`" for kind, expected in _faults().items() if signal.value in expected]
    if kinds:
        rows.append(("faults that bring it about", f"{', '.join(kinds)} ([faults file](../reference/faults.md))"))
    yield table(("", ""), rows)


def _answer(signal: SignalName, up: str = "../") -> str:
    """What the default policy does about a signal."""
    reactions = RecoveryPolicy().reactions
    if signal is SignalName.ODD_UPDATE:
        return f"an [experiment]({up}experiments.md)"
    if signal.value not in type(reactions).model_fields:
        assert signal in SETUP_SIGNALS
        return "noted, nothing is done"
    reaction = reactions.of(signal)
    if reaction is Reaction.OBSERVE:
        return "logged only"
    return "enters at the lowest rung" if reaction is None else f"enters at [`{reaction}`]({up}actions/{reaction}.md)"


def _of_action(action: ActionName) -> Iterator[str]:
    rung = next(each for each in get_args(AnyRung) if each.model_fields["action"].default is action)
    schema = TypeAdapter(rung).json_schema()
    documented = attributes_of(rung)
    rows = []
    for name, field in schema["properties"].items():
        if name == "action":
            continue
        default = field.get("default")
        meaning = documented.get(name) or prose(field.get("description", ""))
        rows.append((f"`{name}`", f"`{flow(default)}`", bound(field), meaning))
    if rows:
        yield table(("option", "default", "bound", "meaning"), rows)
    reactions = RecoveryPolicy().reactions
    here = [each for each in (*SignalName, *CauseKind) if _enters(reactions, each) is action]
    if here:
        yield f"Enters here by default: {', '.join(map(_linked, here))}.\n"
    if action is RecoveryPolicy().ladder[0].action:
        yield "The lowest rung of the default ladder: whatever has no reaction of its own enters here.\n"


def _linked(found: SignalName | CauseKind) -> str:
    where = f"../signals/{found}.md" if isinstance(found, SignalName) else "../diagnosis.md#how-it-decides"
    return f"[`{found}`]({where})"


def _enters(reactions: Any, found: SignalName | CauseKind) -> ActionName | None:
    reaction = reactions.of(found)
    return None if reaction is None else reaction.action


def _faults() -> dict[str, tuple[str, ...]]:
    """The signals by which each kind of fault is found."""
    kinds = [each for each in classes_in(FaultScript) if issubclass(each, Expected) and "kind" in each.model_fields]
    return {each.model_fields["kind"].default: each.expected_signals for each in kinds}


def stale(docs: Path) -> Iterator[tuple[Path, str]]:
    """The pages whose tables are not those of now, with what they should be."""
    for name, block in facts().items():
        page = docs / name
        if page.is_file() and (fresh := with_facts(page.read_text("utf-8"), block)) != page.read_text("utf-8"):
            yield page, fresh
