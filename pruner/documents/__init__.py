"""YAML and JSON that somebody else has written, read within bounds.

`bounds` limits what a document may stand for. `values` decodes plain values and never shows any content. `places` also
knows where each value stands in its file.
"""
