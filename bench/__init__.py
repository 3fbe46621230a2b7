"""Measurements: our plan and our run beside a bare client and beside what people use today, on the same servers."""
