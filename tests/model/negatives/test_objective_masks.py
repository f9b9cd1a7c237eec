"""The objective masks what the user clicked: in other rows, in the bank, in the history."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.losses import Columns, sampled_softmax_loss
from tests.model.negatives.objectives import POSITIVES, USERS, B, Q, objective


def without(queries: Tensor, table: Tensor, excluded: list[list[int]], ids: Tensor | None = None) -> Tensor:
    """The loss by hand over the positives, or over columns `ids`, with excluded ids."""
    ids = POSITIVES if ids is None else ids
    n = (len(ids) - 1) * Q
    columns = Columns(table[ids], ids, n[ids].log().float())
    return sampled_softmax_loss(
        queries, table[POSITIVES], POSITIVES, columns, temperature=0.5, excluded_ids=torch.tensor(excluded)
    )


def test_what_the_user_clicked_in_other_rows_is_masked_where_it_is_asked_for(queries: Tensor, table: Tensor) -> None:
    loss = objective(mask="user")(queries, POSITIVES, lambda ids: table[ids], users=USERS)
    wanted = without(queries, table, [[4 + 1], [4], [-1], [3], [2]])  # rows 0 and 4, rows 1 and 3
    assert torch.allclose(loss, wanted)
    assert loss < objective()(queries, POSITIVES, lambda ids: table[ids], users=USERS)


def test_what_the_user_clicked_in_the_banks_steps_is_masked_too(queries: Tensor, table: Tensor) -> None:
    cbns = objective(mask="user", bank=B)
    cbns(queries, POSITIVES, lambda ids: table[ids], users=USERS)
    loss = cbns(queries, POSITIVES, lambda ids: table[ids], users=torch.tensor([9, 1, 1, 1, 1]))
    # row 0 is user 9's, who clicked item 2 before; rows 1 to 4 are all of user 1
    others = [[2, -1, -1, -1], *([[3, 2, 4, 5]] * 4)]
    assert torch.allclose(loss, without(queries, table, others, torch.cat([POSITIVES, POSITIVES])), atol=1e-4)


def test_a_users_history_is_masked_where_it_is_asked_for(queries: Tensor, table: Tensor) -> None:
    history, apart = torch.tensor([[3, 4, 5, 0]] * B), torch.arange(B)
    masked = objective(mask="history")(queries, POSITIVES, lambda ids: table[ids], history, apart)
    assert torch.allclose(masked, without(queries, table, [[3, 4, 5, -1]] * B))
    assert masked < objective()(queries, POSITIVES, lambda ids: table[ids], history, apart)


@pytest.mark.parametrize(
    ("mask", "given", "message"),
    [
        ("user", {}, "needs the users of the rows, got None"),
        ("history", {"users": USERS}, "a user feature named history, got None"),
    ],
)
def test_a_mask_without_what_it_masks_by_is_refused(
    queries: Tensor, table: Tensor, mask: str, given: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        objective(mask=mask)(queries, POSITIVES, lambda ids: table[ids], **given)
