"""The support desk: find an account, see where its points went, and move points through the one door.

What is read here is shown to people and decides nothing. What moves points goes through
`ledger.door.face()`, whoever decides in the stage that is in force.
"""
