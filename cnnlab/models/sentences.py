"""Layers that read sentences: ids of words to vectors, one a position."""

import torch
from torch import Tensor, nn

from cnnlab.models.kinds import layer
from cnnlab.models.merges import Shape

PADDING = 0  # the id of no word, behind the end of a sentence
START = 0.25  # vectors are drawn from -START to START (Kim 2014)


class Embedding(nn.Embedding):
    """A trained vector for each word; that of padding is 0."""

    def __init__(self, words: int, features: int) -> None:
        super().__init__(words, features, padding_idx=PADDING)

    def reset_parameters(self) -> None:
        """Draw the vectors."""
        nn.init.uniform_(self.weight, -START, START)
        self._fill_padding_idx_with_zero()

    def forward(self, input: Tensor) -> Tensor:
        """(N, L) ids to (N, features, L)."""
        return super().forward(input).transpose(1, 2).contiguous()


class OneHot(nn.Module):
    """For each position a vector of zeros with a 1 in the place of its word; padding is all 0."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.words = words

    def forward(self, ids: Tensor) -> Tensor:
        """(N, L) ids to (N, words, L)."""
        zeros = torch.zeros(len(ids), self.words, ids.shape[1], device=ids.device)
        return zeros.scatter(1, ids.unsqueeze(1), (ids != PADDING).to(zeros.dtype).unsqueeze(1))


class BagOfWords(nn.Module):
    """How often each word occurs in a sentence, whatever the order."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.words = words

    def forward(self, ids: Tensor) -> Tensor:
        """(N, L) ids to (N, words)."""
        zeros = torch.zeros(len(ids), self.words, device=ids.device)
        return zeros.scatter_add(1, ids, (ids != PADDING).to(zeros.dtype))


def _refuse_others(shape: Shape, words: int) -> None:
    """Refuse what is no sentence, a shape of one axis and a vocabulary."""
    if not words or len(shape) != 1:
        raise ValueError("reads sentences, and these data hold none; take data=trec, sst2 or text_file")


@layer()
def embedding(shape: Shape, words: int, features: int = 128) -> nn.Module:
    """Give each word of a sentence a trained vector: (length) ids to (features, length).

    The data gives the number of words. Vectors start from -0.25 to 0.25 as in Kim (2014); that of padding stays 0.

    Args:
        features: number of values of a vector.
    """
    _refuse_others(shape, words)
    return Embedding(words, features)


@layer()
def one_hot(shape: Shape, words: int) -> nn.Module:
    """Give each word of a sentence a map of its own: (length) ids to (words, length), 1 where the word stands.

    The data gives the number of words. A convolution behind it has a weight for each word and place of its window.
    """
    _refuse_others(shape, words)
    return OneHot(words)


@layer()
def bag_of_words(shape: Shape, words: int) -> nn.Module:
    """Count the words of a sentence: (length) ids to (words), without regard to their order.

    The data gives the number of words.
    """
    _refuse_others(shape, words)
    return BagOfWords(words)
