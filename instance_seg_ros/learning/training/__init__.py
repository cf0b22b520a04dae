"""Training of the network: on generated scenes, or on images that a user labelled."""
