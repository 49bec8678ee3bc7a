"""The other sides: as small and as fast as they are usually written, and none of the product's own code
but the text of its statements."""
