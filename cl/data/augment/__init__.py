"""Views: a recipe, its draws, and the executors that apply them."""
