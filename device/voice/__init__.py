"""What the wearer's voice does beyond danger: calls of their own, and learning on. From top to bottom:

callbook   the enrolled calls, in one file
learning   goes on learning the wearer's voice in calm hours, bounded; pure
call       the wearer's own call: five examples, and what is like them; pure
segments   single sounds within a stream; pure

`ordinary_speech.npz` holds outlines of everyday sounds, which no call may be like.
"""
