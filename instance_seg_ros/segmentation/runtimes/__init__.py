"""What runs the network: the contract, one module for each runtime, and what rewrites graphs for them."""
