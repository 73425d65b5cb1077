"""Real weights and pictures: every method of the field on PACS sketch, each for a moment."""

import pandas as pd
import pytest
from workplace import REPOSITORY, Workplace, trials

from trainables.engine.wise_ft import SHARES

DATA = REPOSITORY.parent / "shared" / "data"
SHORT = (
    "training.epochs=1",
    "training.batch_size=14",
    "data.id.limit=28",
    "data.ood=[]",
    "data.probes.0.limit=30",
    "method.lambda=30",
    "search={trials: 1}",
)
METHODS = (
    "linear",
    "full",
    "lp_ft",
    "top_k",
    "lora",
    "block_expansion",
    "taps",
    "random_blocks",
    "largest_norm",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no real weights and pictures in {DATA}"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    place = Workplace(tmp_path_factory.mktemp("pacs"))
    written = "{method: %s, set: {training.lr: 1e-3, training.wise_ft: %s}}"
    baselines = ", ".join(written % (method, str(method == "full").lower()) for method in METHODS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPER_DATA", str(DATA))
        sets = [a for value in (*SHORT, f"baselines=[{baselines}]") for a in ("--set", value)]
        place.sweeper("run", str(REPOSITORY / "spaces" / "pacs_sketch.yaml"), *sets)
    return place


def test_every_method_stands_on_the_front(place: Workplace) -> None:
    frame = trials(place, "pacs_sketch")
    assert set(frame.state) == {"complete"}
    assert [f"baseline-{method}" for method in METHODS] == list(frame.index[1:])
    assert frame.active_blocks["trial-0000"] == 0 and frame.feasible["trial-0000"]
    assert frame.active_blocks["baseline-random_blocks"] == frame.active_blocks["baseline-largest_norm"] == 2
    assert (frame.forgetting[["trial-0000", "baseline-linear"]] == 0).all()
    assert frame.forgetting["baseline-full"] > 3


def test_the_pre_trained_model_knows_imagenet(place: Workplace) -> None:
    known = trials(place, "pacs_sketch").loc["baseline-linear"]
    assert known["probe/imagenet_sample"] > 60 and known["test/probe/imagenet_sample"] > 60


def test_scaling_the_update_leads_from_the_pre_trained_model_to_the_trained_one(place: Workplace) -> None:
    curve = pd.read_csv(place.folder / "sweeps" / "pacs_sketch" / "report" / "curves.csv")
    assert tuple(curve.a) == SHARES and set(curve.key) == {"baseline-full"}
    frame = trials(place, "pacs_sketch")
    assert curve.forgetting.iloc[0] == 0
    assert curve.forgetting.iloc[-1] == pytest.approx(frame.forgetting["baseline-full"])
