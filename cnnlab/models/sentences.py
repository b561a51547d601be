"""Layer kinds that read sentences: word ids to one vector per position, or to word counts."""

import torch
from torch import Tensor, nn

from cnnlab.models.kinds import layer
from cnnlab.models.merges import Shape

PADDING = 0  # the id that fills the positions behind the end of a sentence
START = 0.25  # vectors are drawn from -START to START (Kim 2014)


class Embedding(nn.Embedding):
    """A trained vector per word; the vector of padding is 0."""

    def __init__(self, words: int, features: int) -> None:
        super().__init__(words, features, padding_idx=PADDING)

    def reset_parameters(self) -> None:
        """Draw the vectors uniformly; padding stays 0."""
        nn.init.uniform_(self.weight, -START, START)
        self._fill_padding_idx_with_zero()

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, L) ids to (N, features, L)."""
        return super().forward(input).transpose(1, 2).contiguous()


class OneHot(nn.Module):
    """A one-hot vector per position; padding is all 0."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.words = words

    def forward(self, ids: Tensor) -> Tensor:
        """Map (N, L) ids to (N, words, L)."""
        zeros = torch.zeros(len(ids), self.words, ids.shape[1], device=ids.device)
        return zeros.scatter(1, ids.unsqueeze(1), (ids != PADDING).to(zeros.dtype).unsqueeze(1))


class BagOfWords(nn.Module):
    """Word counts of a sentence, regardless of the order."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.words = words

    def forward(self, ids: Tensor) -> Tensor:
        """Map (N, L) ids to (N, words)."""
        zeros = torch.zeros(len(ids), self.words, device=ids.device)
        return zeros.scatter_add(1, ids, (ids != PADDING).to(zeros.dtype))


def _refuse_non_sentences(shape: Shape, words: int) -> None:
    """Refuse examples that are not sentences, which have one axis and a vocabulary."""
    if not words or len(shape) != 1:
        raise ValueError("reads sentences, and these data hold none; take data=trec, sst2 or text_file")


@layer()
def embedding(shape: Shape, words: int, features: int = 128) -> nn.Module:
    """Look up a trained vector for each word of a sentence: (length) ids to (features, length).

    The number of words comes from the data. Vectors are drawn from -0.25 to 0.25 (Kim 2014); that of padding stays 0.

    Args:
        features: size of a vector.
    """
    _refuse_non_sentences(shape, words)
    return Embedding(words, features)


@layer()
def one_hot(shape: Shape, words: int) -> nn.Module:
    """Encode each word of a sentence as a one-hot vector: (length) ids to (words, length).

    The number of words comes from the data. A convolution behind it has a weight per word and position of its window.
    """
    _refuse_non_sentences(shape, words)
    return OneHot(words)


@layer()
def bag_of_words(shape: Shape, words: int) -> nn.Module:
    """Count the words of a sentence: (length) ids to (words), regardless of their order.

    The number of words comes from the data.
    """
    _refuse_non_sentences(shape, words)
    return BagOfWords(words)
