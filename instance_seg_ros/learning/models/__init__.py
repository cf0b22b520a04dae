"""The segmentation network: nn.Modules and their losses. Imports torch, and nothing of the rest of the package."""
