"""From a trained Keras network to a package that a device can trust."""
