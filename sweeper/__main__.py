"""``python -m sweeper``."""

from sweeper.startup import quick_imports

quick_imports()

from sweeper.cli import main  # noqa: E402

main()
