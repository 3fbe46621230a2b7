"""Bringing retired images back (R37): what was chosen, what of it can come back, and the writes that do so."""

from pruner.restore.restoration import restore
from pruner.restore.selection import Choice, NotRetiredError
from pruner.restore.table import Restored, Row, show

__all__ = ["Choice", "NotRetiredError", "Restored", "Row", "restore", "show"]
