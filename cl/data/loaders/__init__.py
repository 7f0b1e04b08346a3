"""Loaders: each gives batches of views in the sampler's order."""
