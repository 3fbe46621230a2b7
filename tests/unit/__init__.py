"""Tests without I/O: what is decided, and the values that decisions are made of."""
