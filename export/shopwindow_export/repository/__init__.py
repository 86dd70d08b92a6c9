"""`shopwindow export`: render the templates and complete the repository."""
