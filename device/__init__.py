"""Outcry on the device: from a microphone to an alert. See docs/house.md for the rooms."""

__version__ = "0.1.0"
