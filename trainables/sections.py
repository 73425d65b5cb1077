"""The sections of a space as types: what reads a space, and pydantic with it, is not needed to train."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_spaces.data import Data, DataSet
    from search_spaces.data import Probe as ProbeSet
    from search_spaces.model import Model
    from search_spaces.space import Space
else:
    Data = DataSet = Model = ProbeSet = Space = Any

__all__ = ["Data", "DataSet", "Model", "ProbeSet", "Space"]
