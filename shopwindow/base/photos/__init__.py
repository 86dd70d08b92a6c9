"""Read and decode product photos. These modules need only numpy and Pillow, so a process that decodes is small."""
