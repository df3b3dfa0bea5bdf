"""What `outcry doctor` tries out on the real parts. From top to bottom:

broker       whether the broker lets us do what we must
microphone   two seconds of listening
"""
