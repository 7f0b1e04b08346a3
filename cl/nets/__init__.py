"""Encoders by name, and the heads that stand on them."""
