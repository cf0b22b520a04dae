"""Ways from what the network says of a location to the mask of its instance, chosen by name."""
