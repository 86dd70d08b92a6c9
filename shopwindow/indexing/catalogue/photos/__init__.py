"""Read the photos of a catalogue, whatever holds them: bytes, files, text, or the web."""
