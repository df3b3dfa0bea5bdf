"""What `panel.py` stands on: LED, motor and button. From top to bottom:

rhythms   what LED and motor show, and when: the patterns as a table; pure
presses   from the button's edges to rows of short presses; pure
pins      the GPIO pins of this machine: over lgpio, else over RPi.GPIO, else simulated
"""
