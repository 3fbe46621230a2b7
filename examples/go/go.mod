module images

go 1.25

require (
	example.com/pulumi-pruner/sdk/go v0.0.0
	github.com/pulumi/pulumi/sdk/v3 v3.259.0
)

// As `pulumi package add` generates it; `go mod tidy` adds the rest.
replace example.com/pulumi-pruner/sdk/go => ./sdks/pruner
