import torch

from trainables.data.digits import digits


def test_splits_part_the_scans_and_keep_the_share_of_every_digit() -> None:
    task = digits(32)
    splits = (task.train, task.val, task.test)
    assert sum(len(split) for split in splits) == 1797
    assert abs(len(task.train) - 0.6 * 1797) < 2 and abs(len(task.val) - len(task.test)) < 2
    for split in splits:
        shares = torch.bincount(split.labels, minlength=10) / len(split)
        assert (shares - 0.1).abs().max() < 0.01


def test_no_scan_is_in_two_splits() -> None:
    task = digits(8)
    everything = torch.cat([split.pixels[:] for split in (task.train, task.val, task.test)])
    assert len(everything.flatten(1).unique(dim=0)) == 1797


def test_images_are_bytes_of_the_size_asked_for() -> None:
    for size in (8, 28, 32):
        pixels = digits(size).val.pixels[:]
        assert pixels.dtype == torch.uint8 and pixels.shape[1:] == (3, size, size)
        assert pixels.min() == 0 and pixels.max() == 255
