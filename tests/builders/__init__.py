"""Builders for tests: objects of a cluster (`objects`), and
generated clusters with models of what is true of them (`clusters`).
"""
