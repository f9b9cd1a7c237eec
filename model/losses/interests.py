"""Users with several interests: which of a row's query embeddings its loss is computed for.

Axes: B rows, Q interests of a user, D embedding size.
"""

from __future__ import annotations

import torch
from torch import Tensor


def interest_of_positive(queries: Tensor, positives: Tensor) -> Tensor:
    """The query embedding of each row that has the highest score for the row's positive, [B, D].

    queries [B, Q, D]; positives [B, D]: the embeddings of the positives. Of equal scores the first interest is taken.
    Gradients flow into the chosen interest alone, and not through the choice (ComiRec, Cen et al. 2020).
    """
    with torch.no_grad():
        scores = (queries.float() * positives.float()[:, None]).sum(dim=2)  # [B, Q]
        chosen = scores.argmax(dim=1)  # [B]
    return queries.take_along_dim(chosen[:, None, None], dim=1)[:, 0]
