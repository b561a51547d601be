"""What a classifier answers, as rows that every process gathers and as a run directory keeps them."""

import torch
from torch import Tensor

from cnnlab.runs.answers import Answers


def answer_rows(logits: Tensor, labels: Tensor, start: int) -> Tensor:
    """Return a row (place in the data, label, guess, probability) for each of N examples, (N, 4) in float32.

    Logits are (N, classes), labels (N,); `start` is the place of the first.
    """
    probability, guess = logits.float().softmax(1).max(1)
    places = torch.arange(start, start + len(labels), device=labels.device)
    return torch.stack([places.float(), labels.float(), guess.float(), probability], 1)


def as_answers(rows: Tensor) -> Answers:
    """Convert the rows (N, 4) of all processes, in any order."""
    rows = rows.cpu()
    rows = rows[rows[:, 0].argsort()]
    labels, guesses = rows[:, 1:3].short().numpy().T
    return Answers(labels, guesses, rows[:, 3].half().numpy())
