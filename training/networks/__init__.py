"""Architectures, one file each. Importing a file registers its layers with Keras under `outcry`."""
