"""Does a controlled trial end at exactly the number of active blocks that was asked for?

Claim: always. Budgets of 1, 2, 3, 4, 6, 8, 12 and 16 of the shipped CLIP's 32 blocks, 5 seeds each, rank 8,
the training of spaces/clip_lambda.yaml: 40 of 40 end at the budget.

Also measured: what the reported lambda is worth. The same trial is trained with that lambda as its fixed
price, and its active blocks are counted.

    python -m benchmarks.exactness         # a few minutes
"""

import statistics
from pathlib import Path

from benchmarks._trials import RESULTS, Bench, markdown, read_csv, write_csv

SPACE = Path("spaces/clip_lambda.yaml")
BUDGETS, SEEDS, RANK, PACK = (1, 2, 3, 4, 6, 8, 12, 16), 5, 8, 10


def measure(path: Path) -> None:
    """A row for each budget and seed."""
    bench = Bench.open(SPACE, PACK)
    cells = [(budget, seed) for budget in BUDGETS for seed in range(SEEDS)]
    common = [{"method.rank": RANK, "training.seed": seed} for _, seed in cells]
    asked = [{"method.active_blocks": budget} for budget, _ in cells]
    ended = bench.train(
        [bench.space.with_values(own | more) for own, more in zip(common, asked, strict=True)]
    )
    prices = [{"method.lambda": max(0.0, row["lambda"])} for row in ended]
    priced = bench.train(
        [bench.space.with_values(own | more) for own, more in zip(common, prices, strict=True)]
    )
    write_csv(
        path,
        (
            {
                "budget": budget,
                "seed": seed,
                "active_blocks": row["active_blocks"],
                "lambda": row["lambda"],
                "active_at_that_lambda": fixed["active_blocks"],
                "id_accuracy": row["id_accuracy"],
                "forgetting": row["forgetting"],
            }
            for (budget, seed), row, fixed in zip(cells, ended, priced, strict=True)
        ),
    )


def summarise(path: Path) -> None:
    """The table."""
    rows = read_csv(path)
    lines = []
    for budget in BUDGETS:
        own = [row for row in rows if int(row["budget"]) == budget]
        met = sum(int(row["active_blocks"]) == budget for row in own)
        prices = [float(row["lambda"]) for row in own]
        fixed = sorted(int(row["active_at_that_lambda"]) for row in own)
        lines.append(
            [
                f"{budget} of 32",
                f"{met} of {len(own)}",
                f"{min(prices):.2f} to {max(prices):.2f}",
                ", ".join(map(str, fixed)),
                f"{statistics.mean(float(row['id_accuracy']) for row in own):.1f}",
                f"{statistics.mean(float(row['forgetting']) for row in own):.1f}",
            ]
        )
    header = [
        "budget",
        "met",
        "lambda reported",
        "active with it as fixed price",
        "ID acc %",
        "forgetting pp",
    ]
    table = markdown(header, lines)
    total = sum(row["budget"] == row["active_blocks"] for row in rows)
    table += f"\n{total} of {len(rows)} trials ended at exactly their budget.\n"
    path.with_suffix(".md").write_text(table)
    print(table)


def main() -> None:
    """Measures, then summarises."""
    path = RESULTS / "exactness.csv"
    measure(path)
    summarise(path)


if __name__ == "__main__":
    main()
