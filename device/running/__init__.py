"""What `outcry run` does beside hearing and telling. From top to bottom:

desk        what commands on this machine ask of the running service
reporting   the state for panel, `/state`, `/level`, meters and systemd
rehearsal   the test alarm
"""
