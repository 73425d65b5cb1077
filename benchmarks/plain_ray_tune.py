"""The peer: the search as a careful user writes it with Ray Tune, Optuna and MLflow, without the sweeper.

It is built of what their documentation teaches: a function trainable that reports every epoch, the frozen
model and the data handed over by `tune.with_parameters`, Optuna's TPE through Ray's `OptunaSearch` with a
list of metrics, and Ray's `MLflowLoggerCallback`. What a trial does (model, data, training, measures) and
what is searched are as in spaces/clip_lambda.yaml; TPE has the options that the sweeper gives it.

The budget. Optuna knows constraints, but `OptunaSearch` hands none on: Optuna's `constraints_func` sees a
trial before it has values, and Ray sets no attributes on it. What its documentation offers is one more entry
in the list of metrics. So the number of blocks by which a trial misses the budget is a third objective,
minimised; without it the search would know nothing of the budget.

    python benchmarks/plain_ray_tune.py --trials 30 --seed 0 --out plain.csv
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import ray
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.search.optuna import OptunaSearch

from search_spaces import Space, load_space
from trainables.device import device_for
from trainables.engine.training import Training, measure_reference
from trainables.methods import candidate_blocks
from trainables.problem import Problem, open_problem

SPACE = Path(__file__).parents[1] / "spaces" / "clip_lambda.yaml"
DOMAINS = {
    "lambda": FloatDistribution(0.05, 20, log=True),
    "rank": CategoricalDistribution([1, 2, 4, 8, 16]),
}
OBJECTIVES = {"id_accuracy": "max", "forgetting": "min", "excess_blocks": "min"}
MEASURES = ["id_accuracy", "forgetting", "retained_accuracy", "active_blocks"]
SAMPLERS = ("tpe", "random")


def fine_tune(config: dict[str, Any], problem: Problem, space: Space) -> None:
    """One trial, in a process of its own."""
    resolved = space.with_values({f"method.{name}": value for name, value in config.items()})
    budget = space.budget.count(len(candidate_blocks(problem.backbone, space.method)))
    training = Training(problem.to(device_for(space.resources.gpus_per_trial)), [resolved])
    while training.epoch < training.epochs:
        metrics = training.run_epoch()[0]
        excess = space.budget.excess(int(metrics["active_blocks"]), budget)
        tune.report({**metrics, "excess_blocks": max(0, excess)})


def make_sampler(name: str, seed: int) -> BaseSampler:
    """One of Optuna's."""
    if name == "random":
        return RandomSampler(seed)
    return TPESampler(multivariate=True, constant_liar=True, seed=seed)


def search(
    space: Space, trials: int, sampler: BaseSampler, at_once: int, tracking_uri: str, scratch: str
) -> pd.DataFrame:
    """Runs the trials, so many at a time; what Ray knows of each, in order of completion."""
    problem = open_problem(space)
    problem = replace(problem, reference=measure_reference(problem, space))
    searcher = OptunaSearch(
        DOMAINS,
        metric=list(OBJECTIVES),
        mode=list(OBJECTIVES.values()),
        sampler=sampler,
    )
    results = tune.Tuner(
        tune.with_parameters(fine_tune, problem=problem, space=space),
        tune_config=tune.TuneConfig(search_alg=searcher, num_samples=trials, max_concurrent_trials=at_once),
        run_config=tune.RunConfig(
            storage_path=scratch,
            verbose=0,
            callbacks=[MLflowLoggerCallback(tracking_uri=tracking_uri, experiment_name="plain_ray_tune")],
        ),
    ).fit()
    ended: pd.DataFrame = results.get_dataframe()
    return ended.sort_values("timestamp", ignore_index=True)


def table(ended: pd.DataFrame) -> pd.DataFrame:
    """The trials in order of completion, under the names of the sweeper's metrics."""
    parameters = {name: ended[f"config/{name}"] for name in DOMAINS}
    measures = {name: ended[name] for name in MEASURES}
    return pd.DataFrame({"trial": ended.index, **parameters, **measures, "epochs": ended["epoch"]})


def main() -> None:
    parser = argparse.ArgumentParser(description="The search with Ray Tune, Optuna and MLflow alone.")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the sampler and of every training")
    parser.add_argument("--sampler", choices=SAMPLERS, default="tpe")
    parser.add_argument("--at-once", type=int, default=1, help="trials side by side, each on one core")
    parser.add_argument("--out", type=Path, required=True, help="the CSV file to write, one row a trial")
    parser.add_argument("--mlflow", metavar="URI", help="where MLflow logs; else nowhere that is kept")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="a value of the space"
    )
    options = parser.parse_args()

    space = load_space(SPACE, [*options.set, f"training.seed={options.seed}"])
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as scratch:
        tracking_uri = options.mlflow or f"sqlite:///{scratch}/mlflow.db"
        sampler = make_sampler(options.sampler, options.seed)
        ended = search(space, options.trials, sampler, options.at_once, tracking_uri, scratch)
    ray.shutdown()
    table(ended).to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
