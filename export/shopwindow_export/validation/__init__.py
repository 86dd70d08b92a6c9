"""The checks of `shopwindow validate`, a file for each subject."""
