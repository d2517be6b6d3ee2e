"""Scores of listed pairs against products of gathered rows."""

import pytest
import torch

from specrec_core.pair_scores import Pairs

# Users 1 and 4 have none; user 2 has item 3 twice.
OFFSETS, ITEMS = [0, 2, 2, 6, 7, 7], [3, 0, 3, 5, 3, 1, 5]
ROWS = [0, 0, 2, 2, 2, 2, 3]


@pytest.fixture
def tables(device):
    draws = torch.Generator().manual_seed(3)
    users, items = (
        torch.randn(n, 4, generator=draws, dtype=torch.float64).to(device) for n in (5, 6)
    )
    return users.requires_grad_(), items.requires_grad_()


@pytest.fixture
def pairs(device):
    offsets, items = (torch.tensor(values, device=device) for values in (OFFSETS, ITEMS))
    return Pairs(offsets, items, 6)


def test_scores_and_gradients_are_those_of_gathered_rows(tables, pairs):
    weights = torch.arange(1.0, 8.0, dtype=torch.float64, device=tables[0].device)
    users, items = tables
    slow = (users[ROWS] * items[ITEMS]).sum(-1)
    fast = pairs.scores(users, items)
    torch.testing.assert_close(fast, slow)
    found, expected = (
        torch.autograd.grad((scores * weights).sin().sum(), tables) for scores in (fast, slow)
    )
    torch.testing.assert_close(found, expected)


def test_gradients_are_right(tables, pairs):
    assert torch.autograd.gradcheck(pairs.scores, tables)


def test_tables_of_other_sizes_are_refused(tables, pairs):
    users, items = tables
    with pytest.raises(ValueError, match="expected 5 users and 6 items"):
        pairs.scores(items, users)
