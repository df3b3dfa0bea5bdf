"""What `outbox.py` stands on: the events that nobody has yet. From top to bottom:

shelf     the rows: in memory, and behind that on disk
ledger    the SQLite file
rules     when an alert is sent again, what ends it, and what has to go when there is no room; pure
waiting   an event on its way, and one sending of it; pure
"""
