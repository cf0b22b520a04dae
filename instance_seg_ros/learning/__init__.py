"""How a model is made: scenes, data sets, networks, training, export, evaluation. Nothing on a robot imports it."""
