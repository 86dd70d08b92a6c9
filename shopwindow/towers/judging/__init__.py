"""Tools to judge rankings: judged queries, metrics and report tables."""
