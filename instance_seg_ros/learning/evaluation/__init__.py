"""How good a model is: on captures with labels, and on generated scenes."""
