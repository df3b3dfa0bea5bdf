"""What lies beneath: the board, systemd, gpsd, files, C libraries. From top to bottom:

board      heat, throttling, supply, battery, clock
notify     systemd's socket: ready, status, watchdog
position   where the wearer is, by gpsd; only where it is configured
files      files with numbers of a person, whole or not at all
quiet      libraries' remarks stay off standard error
"""
