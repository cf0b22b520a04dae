"""What runs the network: the contract, one module a runtime, and what rewrites graphs for them."""
