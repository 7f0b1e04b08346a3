"""One method a file; a method is its heads and its objective."""
