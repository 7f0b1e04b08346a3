"""What only looks: without all of these a run would learn the same numbers."""
