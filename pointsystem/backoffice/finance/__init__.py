"""What finance closes the month with: the roll-forward, and what is owed by age and by expiry."""
