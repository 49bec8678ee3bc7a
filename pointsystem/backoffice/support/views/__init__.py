"""The pages of the desk: each parses, makes one call, and renders."""
