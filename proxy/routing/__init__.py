"""Choosing upstreams: candidates for a model, and ejection of failing ones."""
