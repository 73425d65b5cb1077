"""What the modes of a budget, and the sampler that looks for its price, ask of the other sections."""

from collections.abc import Collection, Iterator, Mapping

from search_spaces.budget import Budget
from search_spaces.errors import Mistake, Path
from search_spaces.gated import Gated
from search_spaces.gated import Path as PathSettings
from search_spaces.method import Method
from search_spaces.search import Domain, Range

_LOG_RANGE = "{low: 0.05, high: 20, log: true}"


def mode_mistakes(
    budget: Budget, method: Method | None, sampler: str | None, searched: Collection[str]
) -> Iterator[Mistake]:
    """Modes other than search choose the blocks of a gated method, so nothing else may choose them."""
    mode = budget.mode
    if mode != "path" and isinstance(method, Gated) and method.path is not None:
        yield Mistake(("method", "path"), f"goes with budget.mode: path, got mode: {mode}; leave it out")
    if mode == "search":
        return
    if mode == "path" and isinstance(method, Gated) and method.path is not None:
        yield from _path_mistakes(budget, method.path)
    if mode == "mask" and sampler == "grid":
        text = "grid holds no masks, which mode mask searches; use tpe or random, or budget.mode: search"
        yield Mistake(("search", "sampler"), text)
    if method is None:
        return
    if not isinstance(method, Gated):
        text = f"{mode} needs gates, which {method.name} has not; use selective_lora or taps, or mode: search"
        yield Mistake(("budget", "mode"), text)
        return
    remedy = "remove it, or use budget.mode: search"
    for path in ("method.lambda", "method.active_blocks"):
        if path in searched:
            text = f"cannot be searched in mode {mode}, where it follows from the budget; {remedy}"
            yield Mistake(_parameter(path), text)
    # In mode controlled the number may be written: it is compared with the budget once blocks are counted.
    for key in ("mask",) if mode == "controlled" else ("active_blocks", "mask"):
        if getattr(method, key) is not None:
            text = f"cannot be set in mode {mode}, which chooses the open blocks itself; {remedy}"
            yield Mistake(("method", key), text)


def _path_mistakes(budget: Budget, path: PathSettings) -> Iterator[Mistake]:
    if path.counts and budget.active_blocks and budget.active_blocks not in path.counts:
        counts = ", ".join(map(str, path.counts))
        text = f"has {counts}, but not the budget of {budget.active_blocks}; add it, or leave counts out"
        yield Mistake(("method", "path", "counts"), text)


def sampler_mistakes(
    budget: Budget | None, method: Method | None, parameters: Mapping[str, Domain], searched: Collection[str]
) -> Iterator[Mistake]:
    """The sampler budget looks for a price, so there is one to look for, on a log scale."""
    here: Path = ("search", "sampler")
    domain = parameters.get("method.lambda")
    if budget is not None and budget.mode != "search":
        text = f"budget looks for a price, which mode {budget.mode} does not ask; use tpe, or mode: search"
        yield Mistake(here, text)
    elif method is not None and not isinstance(method, Gated):
        text = f"budget looks for the price of gates, which {method.name} has not; use tpe"
        yield Mistake(here, text)
    elif "method.lambda" not in searched:
        text = f"budget needs method.lambda among search.parameters, such as {_LOG_RANGE}"
        yield Mistake(here, text)
    elif domain is not None and not (isinstance(domain, Range) and domain.log):
        text = f"the sampler budget needs a log range here, such as {_LOG_RANGE}"
        yield Mistake(_parameter("method.lambda"), text)


def _parameter(path: str) -> Path:
    return ("search", "parameters", path)
