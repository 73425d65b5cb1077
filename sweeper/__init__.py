"""The sweep: searcher, runner, tracking, front, report, command line, and the API for notebooks."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeper.api import Sweep, load, resume, run
    from sweeper.errors import UserError
else:

    def __getattr__(name: str) -> Any:
        """The API, imported when it is asked for: it brings Optuna and pandas along."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from sweeper import api

        return getattr(api, name)


__all__ = ["Sweep", "UserError", "load", "resume", "run"]
