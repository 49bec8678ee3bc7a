"""The back office: the pages of people who look after accounts, the cutover and the books."""
