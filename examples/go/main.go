// Prunes one cluster from a Go program, with the native provider (docs/native.md). Compiled by tests/e2e/test_languages.py.
package main

import (
	"example.com/pulumi-pruner/sdk/go/pruner"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

func main() {
	pulumi.Run(func(ctx *pulumi.Context) error {
		prod, err := pruner.NewPrunedImages(ctx, "prod", &pruner.PrunedImagesArgs{
			KeepYoungerThan: pulumi.Int(1440),
			Protect:         pulumi.ToStringArray([]string{"blog/*"}),
		})
		if err != nil {
			return err
		}
		ctx.Export("summary", prod.Summary)
		return nil
	})
}
