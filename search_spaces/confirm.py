"""Which trials are trained again, to tell a better point from a lucky one."""

from pydantic import Field

from search_spaces.part import Part


class Confirm(Part):
    """The best trials of a finished search are trained again, with seeds that the search has not seen."""

    trials: int = Field(default=3, ge=1, description="how many trials of the front are trained again at most")
    seeds: int = Field(default=5, ge=2, description="how often each of them is; a spread needs at least 2")
