"""From samples to figures, verdict, comparison and report."""
