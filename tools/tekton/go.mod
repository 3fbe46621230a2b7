// Pins the module whose files describe Tekton's objects (tools/get_tekton); nothing of it is built.
module pruner.example/tools/tekton

go 1.25

require github.com/tektoncd/pipeline v1.12.0
