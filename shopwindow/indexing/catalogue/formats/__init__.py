"""Read one file of a catalogue, whatever its format, as record batches with known types."""
