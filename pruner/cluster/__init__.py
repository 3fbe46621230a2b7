"""Talking to the cluster: who asks and how (connection), over which wire (http), and what it has (snapshot)."""
