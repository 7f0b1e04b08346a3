"""Data sets, the recipe of views, and what executes it; nothing is imported here."""
