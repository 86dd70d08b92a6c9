"""Turn a catalogue into a generation of an index."""
