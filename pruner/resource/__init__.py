"""Where version 0.1 had the Pulumi provider; kept because the states of existing stacks refer to it."""
