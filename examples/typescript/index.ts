// Prunes one cluster from a TypeScript program, with the native provider (docs/native.md). Executed by tests/e2e/test_languages.py.
import * as pruner from "@pulumi/pruner";

const prod = new pruner.PrunedImages("prod", {
    keepYoungerThan: 1440,
    protect: ["blog/*"],
});
export const summary = prod.summary;
