"""The model packages that this device has. From top to bottom:

chosen   which one is in force
golden   the golden clip: does the package say here what it said there
store    the installed ones, and the switch between them
"""
