"""What can be edited in the admin: people, clients and reasons, each change with an entry in the trail."""
