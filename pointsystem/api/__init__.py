"""The REST contract of the product: the only thing that clients see."""
