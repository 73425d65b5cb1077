"""Multi-head self-attention whose two projections are plain linear layers."""

import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Computes what `nn.MultiheadAttention` computes, over the same weights.

    The original calls its projections as functions on bare weights, past any module that is put in their
    place, so an adapter around them would never train. Here ``qkv`` and ``proj`` are modules.
    """

    def __init__(self, original: nn.MultiheadAttention) -> None:
        super().__init__()
        width = original.embed_dim
        self.heads = original.num_heads
        self.qkv = nn.Linear(width, 3 * width, device="meta")
        self.qkv.weight = nn.Parameter(original.in_proj_weight.detach())
        self.qkv.bias = nn.Parameter(original.in_proj_bias.detach())
        self.proj = nn.Linear(width, width, device="meta")
        self.proj.weight = original.out_proj.weight
        self.proj.bias = original.out_proj.bias

    def forward(
        self, x: Tensor, key: Tensor, value: Tensor, need_weights: bool, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Attends from x (N, L, D) to itself; ``key`` and ``value`` are x too, as callers have it.

        Args:
            attn_mask: added to the scores: (L, L), or of each sentence and head, (N * heads, L, L).
        """
        n, length, width = x.shape
        if attn_mask is not None and attn_mask.ndim == 3:
            attn_mask = attn_mask.unflatten(0, (n, self.heads))
        q, k, v = self.qkv(x).view(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        return self.proj(heads.transpose(1, 2).reshape(n, length, width)), None
