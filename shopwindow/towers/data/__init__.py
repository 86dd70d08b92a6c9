"""Catalogues, clicks, mined pairs and published data sets to train on."""
