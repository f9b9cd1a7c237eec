"""Which columns a step compares its queries with, and how often each is expected: the sources behind the one loss.

Axis letters: B rows, D embedding size, C columns, N items to embed, I indices of the item vocabulary, M bank columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from model.bank import CrossBatchBank
from model.losses import Columns, rescale_column_gradient, sampled_softmax_loss
from model.negatives import CategoricalSampler, log_expected_count

Embed = Callable[[Tensor], Tensor]  # item indices [N] -> embeddings [N, D], with gradient


@dataclass(frozen=True)
class Negatives:
    """The sources beside the other rows' positives, and what is made of them. Sizes of 0 leave a source out.

    corpus: items drawn from the whole catalogue for each batch; unclicked: from the unclicked pool; bank: item vectors
    of past steps that are kept (CBNS, Wang et al. 2021), `bank_holds` says of which columns: `positives`, or `all`.
    """

    correction: str
    corpus: int = 0
    unclicked: int = 0
    bank: int = 0
    bank_holds: str = "positives"
    bank_warmup_steps: int = 0
    bank_gradient_cure: bool = True
    mask_history: bool = False


@dataclass(frozen=True)
class Probabilities:
    """How often one draw of a source is item j: q of the batch's positives, u of the catalogue, p of the pool; [I]."""

    q: Tensor
    u: Tensor
    p: Tensor


class Objective:
    """The loss of a step, with the state that its sources keep: samplers and the bank."""

    def __init__(
        self,
        probabilities: Probabilities,
        negatives: Negatives,
        *,
        temperature: float,
        batch_size: int,
        dim: int,
        seed: int,
        device: torch.device | None = None,
    ) -> None:
        """Raises ValueError where a source is asked for that has nothing to draw from."""
        self.probabilities, self.negatives, self.temperature = probabilities, negatives, temperature
        self.generator = torch.Generator().manual_seed(seed)
        self.device, self.steps = device or torch.device("cpu"), 0
        if negatives.unclicked and not bool(probabilities.p.any()):
            raise ValueError("negatives.unclicked asks for draws from the unclicked pool, and the pool is empty")
        draws = ((negatives.corpus, probabilities.u), (negatives.unclicked, probabilities.p))
        self.samplers = [(n, CategoricalSampler(weights.cpu())) for n, weights in draws if n]
        self.bank = CrossBatchBank(negatives.bank, dim, device=self.device) if negatives.bank else None
        self.bank_probability = self._bank_probability(batch_size)  # [I]

    def _bank_probability(self, batch_size: int) -> Tensor:
        """r [I]: what a column of the bank is, by the sources that it is filled from."""
        sources = [(float(batch_size), self.probabilities.q)]
        if self.negatives.bank_holds == "all":
            sources += self._drawn_terms()
        return sum((n * weights for n, weights in sources), torch.zeros(())) / sum(n for n, _ in sources)

    def _drawn_terms(self) -> list[tuple[float, Tensor]]:
        draws = ((self.negatives.corpus, self.probabilities.u), (self.negatives.unclicked, self.probabilities.p))
        return [(float(n), weights) for n, weights in draws if n]

    def draw(self) -> Tensor:
        """Item indices [corpus + unclicked], anew for each batch."""
        drawn = [sampler.sample(n, self.generator) for n, sampler in self.samplers]
        return torch.cat(drawn).to(self.device) if drawn else torch.empty(0, dtype=torch.int64, device=self.device)

    def held(self) -> tuple[Tensor, Tensor]:
        """The bank's vectors [M, D] and item indices [M]; none before it has warmed up."""
        if self.bank is None or self.steps < self.negatives.bank_warmup_steps or not len(self.bank):
            return torch.empty(0, device=self.device), torch.empty(0, dtype=torch.int64, device=self.device)
        embeddings, ids, _ = self.bank.columns()
        return embeddings, ids

    def __call__(self, queries: Tensor, positives: Tensor, embed: Embed, history: Tensor | None = None) -> Tensor:
        """The mean loss of a step.

        queries [B, D]; positives [B] item indices; embed: the item tower; history [B, L]: the user's clicks, 0 is
        padding, masked where `mask_history` is set.
        """
        fresh_ids = torch.cat([positives, self.draw()])  # [N]
        fresh = embed(fresh_ids)  # [N, D]
        banked, banked_ids = self.held()
        ids = torch.cat([fresh_ids, banked_ids])  # [C]
        others = max(len(positives) - 1, 1)  # one row alone has no negatives, and a loss of 0
        fresh_terms = [(float(others), self.probabilities.q), *self._drawn_terms()]
        terms = [*fresh_terms, (float(len(banked_ids)), self.bank_probability)] if len(banked_ids) else fresh_terms
        log_n = log_expected_count(ids, terms)  # [C]
        columns = self._cured(fresh, fresh_ids, fresh_terms, log_n) if len(banked_ids) else fresh
        columns = torch.cat([columns, banked.to(fresh.dtype).reshape(-1, fresh.shape[1])])  # [C, D]
        excluded = history if self.negatives.mask_history else None
        if excluded is not None:
            excluded = torch.where(excluded == 0, -1, excluded)  # [B, L]
        loss = sampled_softmax_loss(
            queries,
            fresh[: len(positives)],
            positives,
            Columns(columns, ids, log_n),
            temperature=self.temperature,
            correction=self.negatives.correction,
            positive_log_expected_count=log_n[: len(positives)],
            excluded_ids=excluded,
        )
        self._keep(fresh, fresh_ids, len(positives))
        return loss

    def _cured(self, fresh: Tensor, ids: Tensor, terms: list[tuple[float, Tensor]], log_n: Tensor) -> Tensor:
        """Fresh columns [N, D], pushed away as hard as if the bank's columns carried gradient too."""
        if not self.negatives.bank_gradient_cure:
            return fresh
        return rescale_column_gradient(fresh, log_n[: len(fresh)], log_expected_count(ids, terms))

    def _keep(self, fresh: Tensor, fresh_ids: Tensor, n_positives: int) -> None:
        """Put this step's columns into the bank, for the steps to come."""
        self.steps += 1
        if self.bank is not None:
            kept = len(fresh_ids) if self.negatives.bank_holds == "all" else n_positives
            self.bank.push(fresh[:kept].detach(), fresh_ids[:kept], self.steps)
