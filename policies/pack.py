"""The rules as policies of Pulumi: each judges every PrunedImages resource, at the level and with the options that are configured.

What keeps a rule from judging, such as a plan that cannot be read or an option that makes no sense, counts as an objection: a rule that
could not look has not let anything through.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pulumi
from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyConfigSchema,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    policy,
)

from policies.facts import TYPE, gather
from policies.rules import RULES, Rule
from pruner.errors import PrunerError


def tell_previews() -> None:
    """Have `is_dry_run` tell previews from ups in a pack that the CLI has started as an executable.

    A pack that a language host starts has it from the environment, which the SDK reads before each judgement. To an executable the
    engine tells it in a call (ConfigureStack) of which the SDK takes the tags only.
    """
    servicer: Any = policy._PolicyAnalyzerServicer
    configure = servicer.ConfigureStack

    def configure_stack(self: Any, request: Any, context: Any) -> Any:
        os.environ.update(
            PULUMI_PROJECT=request.project, PULUMI_STACK=request.stack, PULUMI_DRY_RUN=str(request.dry_run).lower()
        )
        return configure(self, request, context)

    servicer.ConfigureStack = configure_stack


def policies() -> list[Policy]:
    """All rules."""
    return [
        ResourceValidationPolicy(
            name=rule.name,
            description=rule.about,
            enforcement_level=EnforcementLevel(rule.level),
            validate=_validator(rule),
            config_schema=PolicyConfigSchema(_schema(rule)) if rule.options else None,
        )
        for rule in RULES
    ]


def _schema(rule: Rule) -> dict[str, dict[str, Any]]:
    return {name: {**option.schema, "description": option.about} for name, option in rule.options.items()}


def _validator(rule: Rule) -> Callable[[ResourceValidationArgs, Callable[..., None]], None]:
    def validate(args: ResourceValidationArgs, report_violation: Callable[..., None]) -> None:
        if args.resource_type == TYPE:
            for message in objections(rule, args.props, args.get_config(), preview=pulumi.runtime.is_dry_run()):
                report_violation(message)

    return validate


def objections(rule: Rule, inputs: Mapping[str, Any], config: Mapping[str, Any], *, preview: bool) -> Iterator[str]:
    """What the rule objects to, as messages."""
    try:
        facts = gather(inputs, preview=preview)
        if facts is not None:
            yield from rule.judge(facts, options(rule, config))
    except PrunerError as error:
        yield f"cannot judge this plan: {error}"


def options(rule: Rule, config: Mapping[str, Any]) -> dict[str, Any]:
    """The rule's options, defaults filled in."""
    defaults = {name: option.schema["default"] for name, option in rule.options.items() if "default" in option.schema}
    return {**defaults, **{name: value for name, value in config.items() if value is not None}}
