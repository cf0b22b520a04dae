"""Training of the network on a store of generated scenes."""
