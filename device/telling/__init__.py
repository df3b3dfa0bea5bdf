"""What is told, and where it goes: to the outbox first, then to all the rest. From top to bottom:

teller     what the alarm tells becomes an Event: outbox, journal, standard output
clip       the sound around an alert, sealed for one key; only where one is configured
journal    what happened, kept on the device, bounded
faults     faults that stand, told once each; pure
evidence   what is told of a step of the road: in an Event, on a meter; pure
"""
