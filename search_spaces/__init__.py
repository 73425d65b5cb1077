"""Space files: what a sweep is asked for, checked, and handed on as typed settings."""

from search_spaces.baseline import Baseline, BaselineRun
from search_spaces.budget import Budget, BudgetMode
from search_spaces.checks import PACKABLE
from search_spaces.confirm import Confirm
from search_spaces.counts import path_counts, path_of, with_counts
from search_spaces.data import Data, Probe, Source
from search_spaces.errors import SpaceError
from search_spaces.gated import Gated, SelectiveLora
from search_spaces.load import as_text, change_space, load_space
from search_spaces.low_rank import Lora
from search_spaces.method import METHODS, Full, Linear, Method, ZeroShot
from search_spaces.model import Model
from search_spaces.part import longer_name
from search_spaces.points import Points
from search_spaces.search import Choices, Objectives, Range, Search
from search_spaces.settings import Settings
from search_spaces.space import Space, json_schema, parse_space
from search_spaces.training import Resources, Training

__all__ = [
    "METHODS",
    "PACKABLE",
    "Baseline",
    "BaselineRun",
    "Budget",
    "BudgetMode",
    "Choices",
    "Confirm",
    "Data",
    "Full",
    "Gated",
    "Linear",
    "Lora",
    "Method",
    "Model",
    "Objectives",
    "Points",
    "Probe",
    "Range",
    "Resources",
    "Search",
    "SelectiveLora",
    "Settings",
    "Source",
    "Space",
    "SpaceError",
    "Training",
    "ZeroShot",
    "as_text",
    "change_space",
    "json_schema",
    "load_space",
    "longer_name",
    "parse_space",
    "path_counts",
    "path_of",
    "with_counts",
]
