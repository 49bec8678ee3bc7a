"""Who comes in: the second factor, how long a session lasts, and what the audit trail says of it."""
