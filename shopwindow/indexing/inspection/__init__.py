"""Say what a catalogue will become, before anything heavy runs."""
