"""
A small OpenShift in one process: enough of its API, its image registry and its users that a client which prunes
images cannot tell the difference. It exists so that the demo and the tests work against real HTTP, real digests and
real failures without a cluster. `python -m sandbox` starts it; it listens on loopback only.
"""
