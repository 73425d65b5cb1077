from sweeper.report.grid import grids, shares


def test_layers_run_across_and_kinds_down() -> None:
    blocks = ["image.0.qkv", "image.0.fc1", "image.1.qkv", "image.1.fc1"]
    (grid,) = grids(blocks, {"image.1.qkv": 1.0})
    assert (grid.tower, grid.layers) == ("image", ("0", "1"))
    assert [kind for kind, _ in grid.rows] == ["qkv", "fc1"]
    assert [[cell.share for cell in cells] for _, cells in grid.rows] == [[0.0, 1.0], [0.0, 0.0]]


def test_towers_are_apart_and_missing_blocks_are_none() -> None:
    image, text = grids(["image.0.qkv", "image.1.fc1", "text.0.qkv"], {})
    assert (image.tower, text.tower) == ("image", "text")
    assert [[cell.share for cell in cells] for _, cells in image.rows] == [[0.0, None], [None, 0.0]]


def test_names_of_another_form_still_show() -> None:
    (grid,) = grids(["3.qkv", "head"], {"head": 1.0})
    assert (grid.tower, grid.layers) == ("", ("3", ""))
    assert [[cell.share for cell in cells] for _, cells in grid.rows] == [[0.0, None], [None, 1.0]]


def test_shares_count_trials() -> None:
    assert shares(["a", "b", "c"], [["a"], ["a", "b"]]) == {"a": 1.0, "b": 0.5, "c": 0.0}
    assert shares(["a"], []) == {"a": 0.0}
