// Command pulumi-resource-kubernetes is the main package of Pulumi's Kubernetes plugin, whose own embeds files that
// its module lacks; tools/get_pulumi_kubernetes copies those that they are made from.
package main

import (
	_ "embed"

	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version"
)

//go:embed schema.json
var schema []byte

//go:embed terraform-mapping.json
var mapping []byte

func main() {
	provider.Serve("kubernetes", version.Version, schema, mapping)
}
