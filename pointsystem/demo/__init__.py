"""The demo: real orders become points through the API, and the ledger is then proved right.

orders.py reads the orders, customers.py says what the customers do with their points, timeline.py puts
both on the days of the calendar. replay.py plays them through traffic.py, which calls the API as services.py
says, and notes every answer in journal.py. expected.py works the journal out again in plain Python, proofs.py
compares, report.py and picture.py show it. run.py is one run of all of it.
"""
