"""The sweep: searcher, runner, tracking, front, report and command line."""
