"""The data to train on: catalogues, clicks, mined pairs and published data sets."""
