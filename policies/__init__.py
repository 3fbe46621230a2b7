"""The policy pack: rules that a plan has to pass before it is carried out. docs/policies.md lists them."""
