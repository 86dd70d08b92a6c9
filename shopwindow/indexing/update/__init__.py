"""Changed and removed products as a delta; compaction."""
