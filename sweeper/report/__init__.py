"""The report of a sweep: one page, one picture, tables of every trial, and the front as data."""

from sweeper.report.frame import confirmed_frame, curves_frame, trials_frame
from sweeper.report.table import front_table
from sweeper.report.write import front_value, write_report

__all__ = ["confirmed_frame", "curves_frame", "front_table", "front_value", "trials_frame", "write_report"]
