import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity
from torch import Generator

from trainables.probes import similarity


@pytest.mark.parametrize("entries", [1, 50, 10_000])
def test_similarities_are_scikit_learns_in_any_number_of_parts(
    monkeypatch: pytest.MonkeyPatch, entries: int
) -> None:
    monkeypatch.setattr(similarity, "_ENTRIES", entries)
    generator = Generator().manual_seed(0)
    queries = torch.randn(31, 6, generator=generator) * torch.logspace(-3, 3, 31)[:, None]
    keys = torch.randn(17, 6, generator=generator)
    parts = list(similarity.similarities(queries, keys))
    assert all(part.numel() <= max(entries, 17) for part in parts)
    assert torch.cat(parts).numpy() == pytest.approx(cosine_similarity(queries, keys), abs=1e-6)
