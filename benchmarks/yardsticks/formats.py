"""The number format that a processor computes in."""

import torch


def supported(dtype: torch.dtype) -> torch.dtype:
    """The format, or float32 where it is bfloat16 and the processor has no instructions for that."""
    slow = dtype == torch.bfloat16 and not torch.cpu._is_avx512_bf16_supported()
    return torch.float32 if slow else dtype
