"""The plan and the result for people and machines that look at them: text, Markdown, HTML, JSON Lines, OpenMetrics."""

from pruner.report.model import Report

__all__ = ["Report"]
