"""What `outcry doctor` looks at. From top to bottom:

broker       whether the broker lets us do what we must
microphone   two seconds of listening
kept         room on the disk, the outbox, what is known of the wearer
machine      Python, the network's runtime, GPIO, clock, supply, systemd
finding      what a check finds, and what all checks share
"""
