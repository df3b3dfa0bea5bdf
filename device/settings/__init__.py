"""What `config.py` stands on: what a configuration may hold. From top to bottom:

refusals   what it may not hold, in words
sections   its tables, each a type: every key, its bounds and its default; pure
"""
