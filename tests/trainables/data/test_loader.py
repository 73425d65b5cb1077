"""What is read ahead by other processes is what is read here."""

import os
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from trainables.data import ImageSet
from trainables.data.loader import Reader, Stream, in_order, read_ahead
from trainables.errors import ProblemError


@dataclass(frozen=True)
class Pictures:
    """Pictures that say which process has read them."""

    damaged: int = -1

    def __len__(self) -> int:
        return 10

    def __getitem__(self, rows: Tensor) -> Tensor:
        if self.damaged in rows:
            raise ProblemError(f"path: picture {self.damaged} cannot be read")
        return torch.stack([rows, torch.full_like(rows, os.getpid())], dim=1)

    def picture(self, row: int) -> Tensor:
        raise NotImplementedError

    def made_ready(self) -> "Pictures":
        return self


BATCHES = torch.arange(10).split(3)


@pytest.mark.parametrize("workers", [0, 1, 3, 20])
def test_batches_come_in_order_from_as_many_processes(workers: int) -> None:
    found = torch.cat(list(read_ahead(Pictures(), BATCHES, workers)))
    assert found[:, 0].tolist() == list(range(10))
    readers = set(found[:, 1].tolist())
    assert len(readers) == max(1, min(workers, 2))  # a process for every two batches
    assert (os.getpid() in readers) == (workers == 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_cannot_be_read_is_one_line(workers: int) -> None:
    with pytest.raises(ProblemError) as told:
        list(read_ahead(Pictures(damaged=7), BATCHES, workers))
    assert str(told.value) == "path: picture 7 cannot be read"


def test_no_random_number_is_taken() -> None:
    before = torch.get_rng_state()
    list(read_ahead(Pictures(), BATCHES, 2))
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_is_read_of_an_empty_set() -> None:
    nothing = ImageSet(torch.zeros(0, 3, 2, 2, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))
    assert list(in_order(nothing, 4, 2)) == [] and list(read_ahead(Pictures(), [], 2)) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_that_nobody_asks_for_are_not_waited_for(workers: int) -> None:
    """A pack that remembers what frozen layers made of pictures asks for some batches, or for none."""
    stream = Stream(Reader(Pictures(), workers), BATCHES, torch.device("cpu"))
    for number in (1, 2, 0, 3):
        assert stream.read(number)[:, 0].tolist() == BATCHES[number].tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_is_read_by_the_processes_of_the_one_before(workers: int) -> None:
    """Also where one was left before its end; more are started where there is more to read."""
    reader = Reader(Pictures(), workers)
    assert len(list(reader.read(BATCHES[:1]))) == 1
    first = torch.cat(list(reader.read(BATCHES)))
    next(reader.read(BATCHES))
    second = torch.cat(list(reader.read(BATCHES[::-1])))
    assert second[:, 0].tolist() == torch.cat(BATCHES[::-1]).tolist()
    assert set(first[:, 1].tolist()) == set(second[:, 1].tolist())
    assert len(set(first[:, 1].tolist())) == max(1, workers)


def test_one_can_read_on_after_a_picture_that_cannot_be_read() -> None:
    reader = Reader(Pictures(damaged=7), 2)
    with pytest.raises(ProblemError):
        list(reader.read(BATCHES))
    assert torch.cat(list(reader.read(BATCHES[:2])))[:, 0].tolist() == list(range(6))
