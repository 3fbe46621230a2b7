"""Tests against the sandbox: real HTTP, no cluster."""
