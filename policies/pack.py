"""The rules as policies of Pulumi: each judges every PrunedImages resource, with its configured level and options.

What keeps a rule from judging, such as a plan that cannot be read or an option that makes no sense, counts as an
objection: a rule that could not look has not let anything through.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import grpc
import pulumi
from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyConfigSchema,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    policy,
)

from policies.facts import Share, gather, inputs_of, not_planned
from policies.rules import RULES, Rule
from pruner.errors import PrunerError
from pruner.printable import LONGEST_LINE, printable
from pruner.suggestions import closest

_seen_in_run: dict[tuple[bool, str], Share] = {}
"""Shares of the resources that were judged, by preview and URN; a
pack lives as long as a run, or as its preview and update together."""


def complete_servicer() -> None:
    """Have the SDK's servicer do what it leaves out: tell previews from ups, refuse configuration without effect.

    A pack that a language host starts is told by the environment, which the SDK reads before each judgement. To an
    executable the engine tells it in a call (ConfigureStack) of which the SDK takes the tags only. And of rules or
    options that there are not, neither engine nor SDK says a word: a misspelt limit would be no limit.
    """
    servicer: Any = policy._PolicyAnalyzerServicer
    stack, configure = servicer.ConfigureStack, servicer.Configure

    def configure_stack(self: Any, request: Any, context: Any) -> Any:
        os.environ.update(
            PULUMI_PROJECT=request.project, PULUMI_STACK=request.stack, PULUMI_DRY_RUN=str(request.dry_run).lower()
        )
        return stack(self, request, context)

    def configure_rules(self: Any, request: Any, context: Any) -> Any:
        unknown = unknown_names({name: set(given.properties) for name, given in request.policyConfig.items()})
        if unknown:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the policy pack's configuration: {'; '.join(unknown)}")
        return configure(self, request, context)

    servicer.ConfigureStack, servicer.Configure = configure_stack, configure_rules


def unknown_names(config: Mapping[str, set[str]]) -> list[str]:
    """What the configuration names, rules with their options, that the pack does not have."""
    known = {rule.name: rule.options.keys() for rule in RULES}
    found = [f"there is no rule {name}{_near(name, known)}" for name in sorted(config.keys() - known.keys() - {"all"})]
    for name in sorted(config.keys() & known.keys()):
        wrong = sorted(config[name] - known[name])
        found.extend(f"{name} has no option {option}{_near(option, known[name])}" for option in wrong)
    return found


def _near(name: str, known: Iterable[str]) -> str:
    near = closest(name, known)
    return f" (is {near[0]} meant?)" if near else ""


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
        inputs = inputs_of(args.resource_type, args.props)
        if inputs is not None:
            preview = pulumi.runtime.is_dry_run()
            for message in objections(rule, inputs, args.get_config(), preview=preview, urn=args.urn):
                report_violation(message)

    return validate


def objections(
    rule: Rule, inputs: Mapping[str, Any], config: Mapping[str, Any], *, preview: bool, urn: str = ""
) -> Iterator[str]:
    """What the rule objects to, as printable messages. Other resources of the run count together with this one."""
    for message in _objections(rule, inputs, config, preview=preview, urn=urn):
        yield printable(message, LONGEST_LINE, again=True)


def _objections(
    rule: Rule, inputs: Mapping[str, Any], config: Mapping[str, Any], *, preview: bool, urn: str
) -> Iterator[str]:
    try:
        if rule.judge is None:
            missing = not_planned(inputs)
            if missing:
                yield f"{missing}: no rule has judged it. Up judges it, when it is"
            return
        others = tuple(
            share for (of_preview, other), share in _seen_in_run.items() if of_preview == preview and other != urn
        )
        facts = gather(inputs, preview=preview, others=others)
        if facts is not None:
            _seen_in_run[preview, urn] = facts.share
            yield from rule.judge(facts, options(rule, config))
    except PrunerError as error:
        yield f"cannot judge this plan: {error}"


def options(rule: Rule, config: Mapping[str, Any]) -> dict[str, Any]:
    """The rule's options, defaults filled in."""
    defaults = {name: option.schema["default"] for name, option in rule.options.items() if "default" in option.schema}
    return {**defaults, **{name: value for name, value in config.items() if value is not None}}
