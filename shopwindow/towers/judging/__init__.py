"""How rankings are judged: queries with answers, metrics, tables."""
