"""The tests of pruner and of the sandbox; a package, so that its parts can share `servers`."""
