"""What `service.py` stands on. From top to bottom:

desk        what commands on this machine ask of the running service
rehearsal   the test alarm: asked for or weekly, and whether somebody answers
reporting   the state for panel, `/state`, `/level`, meters and systemd
watch       whether it does what it says: lost threads, deafness, supply, watchdog
parts       what it is made of, for the rooms that look after it
memory      what it finds again after a restart: standing alert, wearer, calls
"""
