"""An HTTP client for servers that may be busy, broken or hostile: bounded, safely retried, with failures in words.

Nothing in here knows Kubernetes or OpenShift.
"""
