"""What a depth camera makes of exact depth: sensor models, those held out of training, and passive stereo."""
