"""`python -m pruner`."""

from pruner.cli import main

main()
