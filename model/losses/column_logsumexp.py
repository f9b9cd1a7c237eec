"""Log-sum-exp of each row's scores over shared columns, computed in chunks of columns.

Axes: B rows, D embedding size, C columns, G distinct ids among them, W columns of one chunk, L masked ids of
a row, R pairs of a row and a distinct id that it masks.
Logits are computed chunk by chunk. On a CPU, their exponentials are kept for the backward pass if they take at most
KEPT_BYTES and have a bound; otherwise a chunk is overwritten by the next one, and computed again in the backward pass.
Logits have the layout [W, B], so that the mask of an id is one row, which is copied to each of the id's columns. On a
device whose work is queued, no shape depends on values, so that the host never waits (`model.data.devices`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.data import devices
from model.losses import kept_buffers
from model.vocabulary import NO_ITEM

CPU_LOGITS_AT_ONCE = 2**20  # 4 MiB of float32, so that a chunk of logits fits in the last-level cache
GPU_LOGITS_AT_ONCE = 2**28  # 1 GiB of float32; as much again for the mask
KEPT_BYTES = 2**27  # exponentials that are kept on a CPU for the backward pass
MAX_BELOW_BOUND = 64.0  # of an exponent to base 2; float32 has full precision down to 2**-126
LOG2_E = math.log2(math.e)  # exp2 is 4 times as fast as exp on a CPU, so exponents are to base 2


class Chunk(NamedTuple):
    """Some columns, ordered by id, and the rows that mask them. A group is a distinct id of the chunk, from 0."""

    columns: Tensor  # [W] int64, which columns
    groups: Tensor  # [W] int64, ascending
    group_count: int
    masking_rows: Tensor  # [R] int64
    masked_groups: Tensor  # [R] int64


def chunks_by_id(ids: Tensor, masked_ids: Tensor, width: int) -> list[Chunk]:
    """Order the columns by id, split them into chunks, and find the rows that mask each id, without a tensor [B, C, L].

    ids [C] int64; masked_ids [B, L] int64, padded with -1; width: columns of a chunk.
    """
    if not len(ids):
        return []
    if devices.is_asynchronous(ids.device):
        return _chunks_of_fixed_shapes(ids, masked_ids, width)
    sorted_ids, order = ids.sort(stable=True)  # [C], [C]
    distinct_ids, groups = sorted_ids.unique_consecutive(return_inverse=True)  # [G], [C]
    positions = torch.searchsorted(distinct_ids, masked_ids).clamp_(max=len(distinct_ids) - 1)  # [B, L]
    is_column = (distinct_ids[positions] == masked_ids) & (masked_ids != NO_ITEM)  # [B, L]
    masked_groups, by_group = positions[is_column].sort()  # [R], [R]
    masking_rows = is_column.nonzero()[by_group, 0]  # [R]

    starts = torch.arange(0, len(ids), width, device=ids.device)  # [chunks]
    first_groups = groups[starts]  # [chunks]
    last_groups = groups[(starts + width - 1).clamp_(max=len(ids) - 1)]  # [chunks]
    first_pairs = torch.searchsorted(masked_groups, first_groups)  # [chunks]
    end_pairs = torch.searchsorted(masked_groups, last_groups, right=True)  # [chunks]
    bounds = torch.stack([starts, first_groups, last_groups, first_pairs, end_pairs], dim=1)
    return [
        Chunk(
            order[start : start + width],
            groups[start : start + width] - first_group,
            last_group - first_group + 1,
            masking_rows[first_pair:end_pair],
            masked_groups[first_pair:end_pair] - first_group,
        )
        for start, first_group, last_group, first_pair, end_pair in bounds.tolist()
    ]


def _chunks_of_fixed_shapes(ids: Tensor, masked_ids: Tensor, width: int) -> list[Chunk]:
    """Like `chunks_by_id`, with shapes that do not depend on values.

    Each chunk has one group more than it has columns. No column has that last group; it takes the pairs of a row and
    an id that is not in the chunk.
    """
    sorted_ids, order = ids.sort(stable=True)  # [C], [C]
    groups = torch.zeros_like(sorted_ids)  # [C]
    groups[1:] = (sorted_ids[1:] != sorted_ids[:-1]).cumsum(0)
    positions = torch.searchsorted(sorted_ids, masked_ids).clamp_(max=len(ids) - 1)  # [B, L]
    is_column = (sorted_ids[positions] == masked_ids) & (masked_ids != NO_ITEM)  # [B, L]
    masked_groups = torch.where(is_column, groups[positions], -1).reshape(-1)  # [B * L]
    rows = torch.arange(len(masked_ids), device=ids.device)[:, None].expand_as(masked_ids).reshape(-1)  # [B * L]
    chunks = []
    for start in range(0, len(ids), width):
        columns, size = order[start : start + width], min(width, len(ids) - start)
        first_group = groups[start]
        inside = masked_groups - first_group  # [B * L]
        inside = torch.where((inside >= 0) & (inside < size), inside, size)
        chunks.append(Chunk(columns, groups[start : start + width] - first_group, size + 1, rows, inside))
    return chunks


def default_chunk_size(rows: int, columns: int, device: torch.device) -> int:
    """The number of columns whose logits fit in the cache of a CPU, or in a bounded part of a GPU's memory."""
    at_once = CPU_LOGITS_AT_ONCE if device.type == "cpu" else GPU_LOGITS_AT_ONCE
    return min(max(1, at_once // max(rows, 1)), max(columns, 1))


def exponent_bound(query: Tensor, embeddings: Tensor, bias: Tensor) -> Tensor | None:
    """Upper bounds [B] of the rows' logits to base 2 (Cauchy-Schwarz), which can be subtracted instead of their peak.

    None if a logit could be so far below that digits are lost, and where reading a value makes the host wait.
    """
    if not len(query) or not len(embeddings) or devices.is_asynchronous(query.device):
        return None
    largest = torch.linalg.vector_norm(query, dim=1) * torch.linalg.vector_norm(embeddings, dim=1).max()  # [B]
    spread = (2 * largest.max() + bias.max() - bias.min()) * LOG2_E
    return (largest + bias.max()) * LOG2_E if float(spread) <= MAX_BELOW_BOUND else None


def chunk_logits(
    query: Tensor, embeddings: Tensor, bias: Tensor, chunks: list[Chunk], offset: Tensor, outputs: Sequence[Tensor]
) -> Iterator[Tensor]:
    """Masked logits to base 2 less each row's offset [B], chunk by chunk: [W, B], written into the chunk's output.

    The caller may overwrite them.
    """
    rows, most_groups = len(query), max((chunk.group_count for chunk in chunks), default=0)
    mask_buffer = query.new_empty(most_groups * rows)
    query_to_base_2 = (query * LOG2_E).T  # [D, B]
    for chunk, logits in zip(chunks, outputs, strict=True):
        mask = mask_buffer[: chunk.group_count * rows].view(chunk.group_count, rows).copy_(-offset)  # [G, B]
        mask[chunk.masked_groups, chunk.masking_rows] = -torch.inf
        torch.index_select(mask, 0, chunk.groups, out=logits)
        logits.add_(bias[chunk.columns, None], alpha=LOG2_E)
        yield logits.addmm_(embeddings[chunk.columns], query_to_base_2)


def shared_outputs(query: Tensor, chunks: list[Chunk]) -> list[Tensor]:
    """An output [W, B] for each chunk, all in the same memory."""
    buffer = query.new_empty(max((len(chunk.columns) for chunk in chunks), default=0), len(query))
    return [buffer[: len(chunk.columns)] for chunk in chunks]


def finite_offset(exponents: Tensor) -> Tensor:
    """The exponents with 0 instead of -inf: the sum of a fully masked row is then exp2(-inf - 0) = 0, not NaN."""
    return exponents.masked_fill(exponents == -torch.inf, 0.0)


class _ColumnLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, embeddings: Tensor, bias: Tensor, chunks: list[Chunk], may_keep: bool
    ) -> Tensor:
        bound = exponent_bound(query, embeddings, bias)
        ctx.chunks, ctx.bound, ctx.buffer, ctx.exponentials = chunks, bound, None, None
        if bound is None:
            result = _by_running_peak(query, embeddings, bias, chunks)
        else:
            if may_keep:
                ctx.buffer = kept_buffers.take(len(embeddings) * len(query), query.dtype)
                whole = ctx.buffer[: len(embeddings) * len(query)].view(len(embeddings), len(query))  # [C, B]
                outputs = ctx.exponentials = whole.split([len(chunk.columns) for chunk in chunks])
            else:
                outputs = shared_outputs(query, chunks)
            total = torch.zeros_like(bound)  # [B], sum of exp2(logit - bound)
            for logits in chunk_logits(query, embeddings, bias, chunks, bound, outputs):
                total += logits.exp2_().sum(dim=0)
            result = bound + total.log2()  # [B]
        ctx.save_for_backward(query, embeddings, bias, result)
        return result / LOG2_E

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, embeddings, bias, result = ctx.saved_tensors
        needs_query, needs_embeddings, needs_bias, *_ = ctx.needs_input_grad
        # [D, B], so that the softmax is not transposed for the product: a quarter faster on a CPU
        grad_query = query.new_zeros(query.shape[1], len(query)) if needs_query else None
        grad_embeddings = torch.zeros_like(embeddings) if needs_embeddings else None  # [C, D]
        grad_bias = torch.zeros_like(bias) if needs_bias else None  # [C]
        exponentials: Iterable[Tensor]  # [W, B]; exponential * factor = softmax * grad
        if ctx.buffer is None:
            offset, factor = finite_offset(result), grad  # [B], [B]
            outputs = shared_outputs(query, ctx.chunks)
            logits_of_chunks = chunk_logits(query, embeddings, bias, ctx.chunks, offset, outputs)
            exponentials = (logits.exp2_() for logits in logits_of_chunks)
        else:
            exponentials = ctx.exponentials
            factor = grad * (ctx.bound - result).exp2_().masked_fill_(result == -torch.inf, 0.0)  # [B]
        weighted_query = factor[:, None] * query  # [B, D]
        for chunk, exponential in zip(ctx.chunks, exponentials, strict=True):
            if grad_query is not None:
                grad_query.addmm_(embeddings[chunk.columns].T, exponential)
            if grad_embeddings is not None:
                grad_embeddings[chunk.columns] = exponential @ weighted_query
            if grad_bias is not None:
                grad_bias[chunk.columns] = exponential @ factor
        if ctx.buffer is not None:  # a second backward pass computes the logits again
            kept_buffers.give_back(ctx.buffer)
            ctx.buffer = ctx.exponentials = None
        if grad_query is not None:
            grad_query = (grad_query * factor).T.contiguous()  # [B, D]
        return grad_query, grad_embeddings, grad_bias, None, None


def _by_running_peak(query: Tensor, embeddings: Tensor, bias: Tensor, chunks: list[Chunk]) -> Tensor:
    """The log-sum-exp [B] to base 2 of logits of any size."""
    peak = query.new_full((len(query),), -torch.inf)  # [B]
    total = torch.zeros_like(peak)  # [B], sum of exp2(logit - peak)
    no_offset = torch.zeros_like(peak)
    for logits in chunk_logits(query, embeddings, bias, chunks, no_offset, shared_outputs(query, chunks)):
        new_peak = torch.maximum(peak, logits.amax(dim=0))  # [B]
        offset = finite_offset(new_peak)  # [B]
        total = total * (peak - offset).exp2_() + logits.sub_(offset).exp2_().sum(dim=0)
        peak = new_peak
    return finite_offset(peak) + total.log2()


def column_logsumexp(
    query: Tensor,
    embeddings: Tensor,
    bias: Tensor,
    ids: Tensor,
    masked_ids: Tensor,
    chunk_size: int | None = None,
) -> Tensor:
    """ln sum_c exp(<query_i, embeddings_c> + bias_c) over the columns c whose id row i does not mask.

    query [B, D], embeddings [C, D], bias [C], ids [C] int64, masked_ids [B, L] int64, padded with -1. chunk_size:
    columns computed at once, with memory O(B * chunk_size); None for `default_chunk_size`, with up to KEPT_BYTES more
    on a CPU. Value and gradient do not depend on it. Returns [B], -inf with zero gradient if every column is masked.
    Differentiable once in query, embeddings and bias.
    """
    width = chunk_size or default_chunk_size(len(query), len(ids), query.device)
    chunks = chunks_by_id(ids, masked_ids, width)
    kept = len(query) * len(ids) * query.element_size()  # bytes
    may_keep = torch.is_grad_enabled() and kept <= KEPT_BYTES and (chunk_size is None or chunk_size >= len(ids))
    result: Tensor = _ColumnLogSumExp.apply(query, embeddings, bias, chunks, may_keep)
    return result
