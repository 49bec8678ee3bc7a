"""What the back office adds to the admin. Each area's pages are registered by importing its module."""
