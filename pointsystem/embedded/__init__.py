"""PostgreSQL and Valkey from wheels, and the processes of the product, supervised on one machine."""
