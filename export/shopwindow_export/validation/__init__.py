"""The checks behind `shopwindow_export.validation.run`, by what they look at."""
