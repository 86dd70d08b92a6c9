"""`shopwindow export`: the templates rendered, the repository complete."""
