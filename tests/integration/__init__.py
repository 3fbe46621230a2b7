"""Tests against real servers: kube-apiserver and etcd, Debian's docker-registry, a forward proxy."""
