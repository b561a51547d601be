"""Collect a classifier's predictions: as rows that processes can gather, and as stored in a run directory."""

import torch
from torch import Tensor

from cnnlab.runs.answers import Answers


def answer_rows(logits: Tensor, labels: Tensor, start: int) -> Tensor:
    """Return a row (index in the data, label, predicted class, its probability) per example, (N, 4) in float32.

    Logits are (N, classes), labels (N,); `start` is the index of the first example.
    """
    probability, guess = logits.float().softmax(1).max(1)
    indices = torch.arange(start, start + len(labels), device=labels.device)
    return torch.stack([indices.float(), labels.float(), guess.float(), probability], 1)


def as_answers(rows: Tensor) -> Answers:
    """Convert the rows (N, 4) of all processes, given in any order, to answers in data order."""
    rows = rows.cpu()
    rows = rows[rows[:, 0].argsort()]
    labels, guesses = rows[:, 1:3].short().numpy().T
    return Answers(labels, guesses, rows[:, 3].half().numpy())
