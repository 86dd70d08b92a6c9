"""The checks behind `export.validate`, by what they look at."""
