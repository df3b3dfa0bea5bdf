"""What `cli.py` stands on. From top to bottom:

packages   `outcry model`: install, list, verify and roll back model packages
options    the options that commands share, and what they lead to
ending     every error becomes one line and the exit code of its kind
"""
