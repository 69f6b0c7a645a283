"""Colours and shapes: the one place. Every colour has a shape or a word beside it, for those who see no difference."""

from __future__ import annotations

from supervisor.records import ActionName

__all__ = ["DARK", "DASHES", "LIGHT", "SHAPES", "SIGNS", "css_variables", "rung_color"]

# Hues of Okabe and Ito, which people with any of the common kinds of colour blindness tell apart; in each theme as
# light or dark as gives a contrast of 3 to 1 and more to its ground.
LIGHT: dict[str, str] = {
    "ground": "#ffffff",
    "panel": "#f6f7f8",
    "ink": "#16191d",
    "quiet": "#59616b",
    "line": "#dde1e6",
    "grid": "#eceff2",
    "accent": "#0b5c8f",
    "good": "#00694b",
    "bad": "#a63c00",
    "curve": "#3c4a5a",
    "undone": "#8b95a1",
    "skip_batch": "#0072b2",
    "lower_lr": "#b47300",
    "reload_checkpoint": "#00805c",
    "try_cures": "#b0568a",
    "reinitialize": "#c94f00",
    "halt": "#000000",
    "process": "#59616b",
    "training": "#00805c",
    "start_up": "#3d9cd2",
    "checkpoints": "#b0568a",
    "recovery": "#b47300",
    "wasted": "#c94f00",
    "down": "#16191d",
    "other": "#8b95a1",
    "run0": "#0072b2",
    "run1": "#c94f00",
    "run2": "#00805c",
    "run3": "#b0568a",
    "run4": "#b47300",
    "run5": "#3d9cd2",
    "run6": "#16191d",
}
DARK: dict[str, str] = {
    "ground": "#14171b",
    "panel": "#1c2126",
    "ink": "#eceff2",
    "quiet": "#a3adb8",
    "line": "#343b43",
    "grid": "#262c33",
    "accent": "#7cc4f0",
    "good": "#4fc79f",
    "bad": "#ff9a57",
    "curve": "#b9c4d0",
    "undone": "#707b87",
    "skip_batch": "#56b4e9",
    "lower_lr": "#e69f00",
    "reload_checkpoint": "#2fbf8f",
    "try_cures": "#de9bc2",
    "reinitialize": "#ff7f3a",
    "halt": "#ffffff",
    "process": "#a3adb8",
    "training": "#2fbf8f",
    "start_up": "#56b4e9",
    "checkpoints": "#de9bc2",
    "recovery": "#e69f00",
    "wasted": "#ff7f3a",
    "down": "#eceff2",
    "other": "#707b87",
    "run0": "#56b4e9",
    "run1": "#ff7f3a",
    "run2": "#2fbf8f",
    "run3": "#de9bc2",
    "run4": "#e69f00",
    "run5": "#9fd8ff",
    "run6": "#eceff2",
}
assert LIGHT.keys() == DARK.keys()

SHAPES: dict[ActionName, str] = {
    ActionName.SKIP_BATCH: "circle",
    ActionName.LOWER_LR: "triangle-down",
    ActionName.RELOAD_CHECKPOINT: "square",
    ActionName.TRY_CURES: "diamond",
    ActionName.REINITIALIZE: "star",
    ActionName.HALT: "x",
}
"""The shape of each rung's marks in the charts."""

SIGNS: dict[ActionName, str] = {
    ActionName.SKIP_BATCH: "●",
    ActionName.LOWER_LR: "▼",
    ActionName.RELOAD_CHECKPOINT: "■",
    ActionName.TRY_CURES: "◆",
    ActionName.REINITIALIZE: "★",
    ActionName.HALT: "✖",
}
"""The same shapes in text."""

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
"""How the lines of several runs are drawn, beside their colours."""


def rung_color(action: ActionName | None) -> str:
    """The name of the colour of a rung's marks, for a chart."""
    return f"color:{action or 'process'}"


def css_variables(colors: dict[str, str]) -> str:
    """`--ink: #16191d; …` for a style sheet."""
    return " ".join(f"--{name.replace('_', '-')}: {value};" for name, value in colors.items())
