"""The cluster: how it is reached (connection), its API and registry, and what it has (snapshot)."""
